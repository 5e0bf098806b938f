"""What a run costs before it is started: seconds, memory, disk, money, stage by stage."""
