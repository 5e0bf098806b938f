"""Remove unmarked reasoning that a model writes before its answer ("Okay, the user wants ...")."""

from __future__ import annotations

import re

USER = (
    r"\bthe (?:user(?:'s|s')?(?! (?:interface|manual|guide|account|name|agent|experience|id)\b)|"
    r"(?:person|human) (?:is |was )?(?:ask|want|request))"
)
# Text about the conversation: it names the user in the third person, or plans what to say.
DELIBERATES = re.compile(
    USER
    + r"|\bthey(?:'re| are)? (?:asking|want|ask) (?:me|for|about|how|to)\b|\blet(?:'s| us| me) (?:think|see|consider|"
    r"figure|"
    r"analy[sz]e|reason|plan)\b|\b(?:i|we) (?:should|need to|have to|must|ought to) (?:\w+ly )?(?:respond|reply|"
    r"answer|say|"
    r"explain|offer|provide|mention|make sure|consider|think|list|figure|comply|follow|check|remember|be careful|"
    r"avoid|start|"
    r"give|write|keep|acknowledge|suggest|come up)\b|\b(?:i|we) should (?:\w+ly )?(?:not\b|refuse|decline)|"
    r"\b(?:my|the) (?:response|answer|reply) (?:should|must|needs|will)\b|\baccording to (?:my|the|openai|company) "
    r"(?:\w+ )?(?:guidelines|polic)|^\W*(?:hmm|wait|(?:okay|ok|alright),? so|so,? (?:the|i|we) (?:user|should|need|"
    r"must)|"
    r"first,? i (?:need|should|will|must))\b|\bi(?:'ll| will| am going to|'m going to) (?:now )?(?:respond|reply|"
    r"refuse|"
    r"draft|write (?:the|a|my) (?:answer|response|reply))\b",
    re.I,
)
OPENS = re.compile(
    r"\A\W*(?:thinking|thought|reasoning) process\W*:|\A\W*(?:(?:okay|ok|alright|all right|hmm+|well|so|right|"
    r"now|first|wait|thinking|reasoning|analysis|thought "
    r"process)\b\W*){0,3}"
    r"(?:" + USER + r"|the (?:request|question|prompt) (?:asks me|is asking me|wants me)|(?:this|that) (?:is|seems|"
    r"looks like) (?:a|an) "
    r"(?:\w+ )?(?:request|question|prompt)\b[^.\n]{0,80}\bthe user|let(?:'s| me| us) (?:think|see|consider|figure|"
    r"analy[sz]e|reason)\b|"
    r"(?:i|we) (?:need|should|have|must|want) to (?:figure out|think|decide|determine|work out|understand (?:what|"
    r"why)|check "
    r"(?:if|whether))|they(?:'re| are)? (?:asking|want) (?:me|for|about|how|to)\b)",
    re.I,
)
REFUSES = re.compile(r"\b(?:decline|refuse|cannot|can't|can not|won't|unable)\b", re.I)
ANSWER_MARK = re.compile(
    r"(?:^|\n)[ \t]*[*#]*[ \t]*(?:(?:final|my|actual) )?(?:answer|response|reply|output)[ \t]*[*]*:[*]*[ \t\n]*", re.I
)
UNIT = re.compile(r"[^\n.!?]*[.!?]+[\"')\]]*(?:[ \t]+|(?=\n)|$)|[^\n.!?]+(?:\n|$)|\n+")


def strip_deliberation(text: str) -> str:
    """The answer without the reasoning before it; "" if the text has no answer.

    Text counts as reasoning only if it begins by speaking about the user or with a phrase such as "Let me think". The
    reasoning ends at a heading such as `Answer:`, or after the last sentence about what to say.
    """
    if not OPENS.search(text):
        return text
    marks = list(ANSWER_MARK.finditer(text))
    if marks and (answer := text[marks[-1].end() :].strip()):
        return answer
    blocks = re.split(r"\n[ \t]*\n", text)
    if len(blocks) > 1:
        last = max(number for number, block in enumerate(blocks) if number == 0 or DELIBERATES.search(block))
        if rest := "\n\n".join(blocks[last + 1 :]).strip():
            return rest
        return after_last(blocks[last])
    return after_last(text)


def after_last(text: str) -> str:
    """The text after the last sentence of reasoning."""
    units = list(UNIT.finditer(text))
    ends = [unit.end() for unit in units if DELIBERATES.search(unit.group()) or OPENS.search(unit.group())]
    rest = text[ends[-1] :].strip() if ends else text
    # "I must decline." may be a plan or the answer; as the last sentence it is the answer
    final = units[-1].group().strip() if units else ""
    return rest or (final if REFUSES.search(final) and not OPENS.search(final) else "")
