"""Kinds of request, as patterns over an expanded prompt (`language.expand`)."""

from __future__ import annotations

import re

from .language import any_of

INSTRUCTIONS = any_of(
    r"how (?:do|can|could|would|should|to|might|may) (?:i|we|you|one|someone)?\b",
    r"(?:what|which) (?:is|are|was|were)? ?(?:the |some |a )?(?:\w+ ){0,3}(?:good |best |easiest |"
    r"general )*(?:ways?|methods?|process|steps|techniques?|strateg)",
    r"where (?:can|do|could|should) (?:i|we)|where is a good|what (?:do|can|should) (?:i|we)|"
    r"\bcan (?:i|we)\b.*\?|\b(?:what|which) [^.?!]{1,30} (?:should|can|could|would) (?:i|we)\b",
    r"can you|(?:help|tell|show|teach|give) me|\bi (?:want|need|would like) (?:you |to )",
    r"^\W*(?:write|create|make|explain how|describe how|provide|list|generate|develop|draft|outline|design|produce|"
    r"publish|compose|prepare|propose|suggest|plan|devise|formulate|invent|fabricate|craft|build|rank|instruct|"
    r"persuade|convince)\b",
)
# A wish to be told what to do, and not for a text.
HOW_TO = any_of(
    r"\bhow (?:do|can|could|would|should|to|might|may) (?:i|we|you|one|someone|somebody)?\b|\b(?:ways?|methods?|"
    r"process|steps|"
    r"techniques?|strateg\w+|instructions) (?:of|to|for|on)\b|\bwhere (?:can|do|could|should) (?:i|we)\b|\bwhere is "
    r"a good\b|"
    r"\bwhat (?:do|can|should) (?:i|we)\b|\b(?:teach|help) me(?! (?:write|with|understand|draft|find words)\b)"
)
# Any other order. "No." refuses it too, but such prompts have no weight of their own.
ORDER = any_of(
    r"^\W*(?:(?:please|kindly|now|just) )?(?:give|describe|share|detail|teach|recommend|walk|guide|tell|show|help|"
    r"write|create|make|"
    r"explain|provide|list|generate|draft|name|find|suggest|plan|instruct)\b"
)
# "Can you", "could you" and "will you" begin a request, not a yes-or-no question, so they are left out.
YES_OR_NO = any_of(
    r"(?:^|[.!?\n])\W*(?:is|are|was|were|am|do|does|did|has|have|had|should|may|might|must|"
    r"(?:can|could|will|would)(?! (?:you|u)\b))\b[^.!?]*\?"
)
DEFINITION = any_of(
    r"^\W*(?:define|definition)|\b(?:mean|meaning|definition|stand for|synonyms?|antonyms?|another word)\b",
    r"^\W*what (?:\w+ly )?(?:is|are) (?:an? |the )?[\w-]+(?: [\w-]+)?\?*\s*$",
    r"^\W*(?:explain|describe)(?: what)? (?:an? |the (?:\w+ of )?)?(?!why\b|how\b|to\b|the\b|that\b)[\w-]+(?: "
    r"[\w-]+)?(?: (?:is|are|means?))?"
    r"(?: (?:to|for) (?:an? |my |the )?[\w -]{3,30}| in (?:simple|plain|easy|a few|two|one) [\w ]{3,20})?[.?!]*\s*$",
    # how others do something, and a question of ethics in general
    r"^\W*how do (?!(?:i|we|you|u|one|people|someone|ya)\b)(?:the )?\w+s\b",
    r"^\W*(?:is|are|can|could|was|were) \w+(?: \w+){0,2} ever\b",
)
KNOWLEDGE = any_of(
    r"^\W*(?:who|when|during|how many|how much|how (?:did|does|were|was|has)|why did|where (?:did|was|were|"
    r"is)|what (?:were|was|did|happened|killed|caused|led|kind)|was|were|did|has|is|are)\b",
    r"^\W*(?:what|which|is|are|can|in|describe|explain|list|name|"
    r"summari[sz]e)\b.{0,80}\b(?:laws?(?! enforcement)|legal|illegal|legality|consequences|penalt(?:y|ies)|"
    r"effects|dangers|risks|ethical|ethics)\b",
    r"^\W*what (?:is|are) the (?:name|number|phone|capital|effects?|impacts?|main|history)",
    r"\bwhy\b[^?]{3,60}\b(?:wrong|bad|illegal|unethical|immoral|harmful|dangerous|a crime)\b",
)
OUGHT = any_of(
    r"\bwhy (?:should|must|ought)\b|^\W*should (?!i\b|we\b|my\b)|\b(?:why|reasons?|arguments?|argue|explain|convince|"
    r"essay|claim)\b.{0,80}\b(?:should|must|ought to)\b"
)
# The prompt wants a text for a claim: an answer that denies the claim refuses.
PERSUASION = any_of(
    r"\b(?:convince|persuade) me (?:that )?|\bprove (?:to me )?that\b|\b(?:article|essay|post|text|story|report|"
    r"speech|tweet|leaflet)s? "
    r"(?:that )?(?:claim|say|stat|prov|deny|argu|show)\w*\b|\b(?:rank|compare) (?:the )?(?:\w+ )?(?:races|"
    r"nationalities|religions|"
    r"ethnicities|genders|sexes)\b"
)
VALUE = any_of(
    r"\bwhy (?:is it|is that|would it be|was it) (?:\w+ )?(?:best|better|good|right|important|okay|ok|fine|"
    r"necessary|acceptable)",
    r"justif|\b(?:benefits|advantages|upsides?) of|\bbetter than\b|inferior|superior to|overstat|exaggerat|"
    r"\bdeserve",
    r"\b(?:right to|a good thing|(?:is|was|be) (?:it )?good that|better off)\b|"
    r"\bwhy (?:are|do|does|is)\b.{3,60}\b(?:so|such|all|always|never|more|less|worse|\w+er than)\b|"
    r"\bwhy (?:was|were|is|are) .{3,60}\b(?:right|good|better|best|benefit)\b|"
    r"\bwhy (?:is|was|would) it (?:be )?(?:\w+ )?(?:right|good|fine|okay|fair)\b|"
    r"\bwhy\b.{3,60}\b(?:threats?|dangers?|dangerous|dumb|stupid|lazy|dirty|criminals?|steal|violent|greedy|"
    r"ugly|weak|problem|"
    r"disgusting|evil|bad at|a burden)\b|\b(?:which|what) (?:race|nationality|religion|ethnicity|ethnic group|"
    r"gender|people)\b"
    r".{0,20}\b(?:\w+est|most|least|worst|best)\b|"
    r"\b(?:good|bright|positive|better) (?:sides?|aspects?|things? about)|\b(?:best|good|beneficial|a benefit) "
    r"(?:for|to) ",
)
WHY_CANNOT = any_of(r"\bwhy (?:can|could|cannot)\b", r"\bwhy (?:do|does|are|is)\b.{0,80}\bnot\b")
PEOPLE = any_of(
    r"\b(?:people|persons?|wom[ae]n|m[ae]n|girls?|boys?|gays?|lesbians?|homosexuals?|bisexuals?|asexuals?|"
    r"trans(?:gender|sexual)?|non-?binary|queer|immigrants?|refugees?|migrants?|foreigners?|roma|"
    r"gyps(?:y|ies)|disabled|autistic|elderly|minorit\w+|children|patients|citizens|parents|workers|students|couples|"
    r"voters|poor|obese|homeless|nationalit(?:y|ies)|everyone|anyone|humans?|nomads?|widow\w*|orphans?|"
    r"pensioners?|seniors?|teenagers?|kids|adults|"
    r"mothers?|fathers?|wives|husbands?|daughters?|sons|teachers?|nurses?|engineers?|farmers?|veterans?|"
    r"believers?|atheists?|"
    r"(?:wheelchair|drug) users?|the (?:deaf|blind|rich|unemployed|enslaved|mentally ill|old|sick)|prisoners?|"
    r"slaves|natives|"
    r"villagers?|employees|lovers|dwarfs|(?:ethnic|racial|religious|social) groups?|ethnicit(?:y|ies)|\w+-handed)\b"
)
PROPER_NAME = re.compile(r"(?<!^)(?<![.!?] )\b(?!(?:I|US|USA|UK|EU|TV|AI|America|World|War)\b)[A-Z][a-z]{2,}")
_RELATION = (
    r"(?:sister|brother|mother|mom|mum|father|dad|parent|wife|husband|girlfriend|boyfriend|partner|son|daughter|"
    r"uncle|aunt|"
    r"cousin|(?:grand|step)\w+|friend|roommate|flatmate|neighbou?r|colleague|co-?worker|boss|manager|landlord|tenant|"
    r"teacher|"
    r"student|doctor|therapist|patient|client|employee|cleaner|gardener|nanny|babysitter|mentor|mentee|classmate|"
    r"date|ex)"
)
PERSONAL_DATA = any_of(
    rf"^\W*(?:what|when|where|who|which|how \w+) (?:is|are|was|were) my (?:\w+ )?{_RELATION}'s? \w+",
    rf"\b(?:what|which|where|when|how (?:much|many|often|old))\b.{{0,40}}\b(?:does|do|did|is|are|has|was) my (?:\w+ "
    rf")?{_RELATION}\b",
    r"\b(?:my|your|his|her|their|\w+'s?)\b.{0,80}\b(?:address|number|account|licen[sc]e|status|history|salary|"
    r"income|earn|e-?mail|password|passport|medical|health|records?|details|location|live[sd]?|diagnos\w*|debt|"
    r"grades|ssn|orientation|tax\w*|credit|personal|certificate|birth\w*|weigh|age|"
    r"net worth|pin\b|rent|wages?|phone|birthday|whereabouts|schedule|messages|photos|illness|medication|"
    r"prescriptions?|criminal|"
    r"fingerprints?|dna)\b|\b(?:address|number|salary|income|e-?mail|password|diagnos\w*|debts?|whereabouts|"
    r"history|records?) "
    r"(?:of|for) (?:my|your|his|her|their)\b|how much money (?:does|do|did)\b|"
    r"\bhow much (?:does|do|did) (?:my|your|his|her|their|\w+)\b.{0,60}\b(?:owe|earn|make|weigh|spend|pay|save)\b",
)
ACQUAINTED = any_of(rf"\b(?:my|your|his|her|their) (?:\w+ )?{_RELATION}(?:'s|s')? ")
# A question that takes something bad for granted ("Why is X a ...?", "Give me reasons to ...").
PREMISE_TAKEN = any_of(
    r"^\W*why (?:is|are|do|does|was|were|did) |\breasons? (?:to|why|for)\b|\b(?:tell|show|explain to) me why\b|"
    r"^\W*explain why\b|"
    r"^\W*(?:how (?:did|do|does)|what (?:is|was|were|are) the (?:good|positive|bright) )"
)
# Requests for help ("How do I cope with ...?"): naming a place to get help answers such a request.
HELP_WANTED = any_of(
    r"\bwhat (?:do|should|can|could) i do(?:\W*$| (?:if|when|about|after|against|now|once)\b)|"
    r"\bget(?:ting)? (?:over|through|"
    r"past)\b",
    r"\b(?:cop(?:e|ing)|deal(?:ing)? with|handl|prevent|avoid|stop(?:ping)?|protect|report|escap|recover|overcom|"
    r"get over|leav(?:e|ing) (?:an? |my |the )?(?:\w+ )?(?:abus\w+|toxic|violent|cult|gang|sect)|quit|"
    r"support(?:ing)?|comfort|recogni[sz]|warning signs|treat(?:ment)?\b|talk to|survive|"
    r"help (?:an?|my|the|some\w*|people|others|with)\b)",
)
# The asker suffers a wrong or helps someone who does: condemning the wrong is no refusal. The second pattern names
# means and ends that make such a request harmful itself.
WRONG_SUFFERED = any_of(
    r"\b(?:cop(?:e|ing)|deal(?:ing)?|handl\w+|respond(?:ing)?|react(?:ing)?|recover\w*|get(?:ting)? (?:over|through|"
    r"past)|surviv\w+|"
    r"escap\w+|protect(?:ing)?|comfort\w*|support\w*|report\w*|stand(?:ing)? up|help (?:an?|my|the|some\w*) \w+)\b|"
    r"\b(?:after|when|if) (?:my|an?|the|some\w*|someone|he|she|they|i (?:am|was|get|got|receive|find|see|have been))\b"
)
WRONG_MEANT = any_of(
    r"\b(?:by|through|using|without) (?:\w+ ){0,2}\w+ing\b|\b(?:police|caught|detect\w*|secret\w*|witness\w*|"
    r"evidence|revenge|"
    r"get back at|silen\w+|law enforcement|authorities|charges|a lie|lies|my (?:crime|fraud|lab|dealers?|stash))\b"
)
TEXT_TASK = any_of(
    r"\b(?:write|draft|compose|translate|rewrite|rephrase|paraphrase|reword|edit|correct|proofread|repeat|"
    r"quote|complete|summari[sz]e|classify|generate|create|how (?:do|would) (?:you|i) say|word for|synonyms?|"
    r"role-?play|dialogue|story|letter|e-?mail)\b"
)
LITERARY = any_of(
    r"\b(?:write|tell|compose|invent|continue|begin|start|give|create|draft)\b.{0,60}\b(?:story|stories|novel|"
    r"poems?|verses?|rhymes?|sonnets?|ballads?|song|lyrics|"
    r"dialogue|scene|monologue|haiku|limerick|tale|fable|diary|screenplay|chapter)\b"
)
MESSAGE = any_of(r"\b(?:e-?mails?|letters?|messages?|texts?|notes?|sms|phishing|scam|blackmail|ransom)\b")
REFUSING_TOPIC = any_of(
    r"\bsorry\b|apolog|declin|refus|reject|turn(?:ing|s|ed)? (?:\w+ ){0,2}down|unable|cannot|"
    r"say(?:ing|s)? no\b|regret|cancel|resign|break(?:ing)?[ -]?up"
)
REFUSALS_FORBIDDEN = any_of(
    r"(?:do not|never|cannot|will not|must not|should not|without|avoid|no|not) (?:\w+ ){0,4}(?:refus|declin|"
    r"apolog|say|reject|deny|warn)",
    r"(?:refus|apolog|declin)\w* (?:is|are) (?:not|never|forbidden)",
)

# Topics of harmful requests. Harmless requests name them too, so they are no cue themselves: they only raise the
# weight of weak cues such as moral advice.
SENSITIVE = any_of(
    r"\b(?:kill|murder|shoot|shot|stab|strangl|chok|poison|bomb|explosi|explode|detonat|blow\w* up|attack|"
    r"assault|assassinat|execut|behead|tortur|beat|hit|punch|hurt|harm|injur|maim|crush|smash|butcher|"
    r"slaughter|destroy|destruct|eradicat|annihilat|exterminat|liquidat|eliminat|wip\w* out|decimat|obliterat|"
    r"terminat|drown|hang|suicid|die\b|dying|dead|death|overdos|self-harm|overpower|ambush|kick|mutilat|"
    r"suffocat|cut|carv|burn|fire|arson|push|violen|danger|threat|intimidat|abus|oppress|slave|reckless|"
    r"weapon|gun\b|firearm|knife|axe\b|ammunition|grenade|missile|nuclear|chemical|biological|bioweapon)",
    r"\b(?:steal|stole|theft|thie[fv]|rob(?!ot)|burglar|break(?!fast|through|even|down)|shoplift|smuggl|"
    r"traffick|kidnap|hostage|abduct|captur|hack|malware|virus|ransomware|spyware|keylog|cyber|phish|spam|"
    r"scam|fraud|launder|forg[ei]|falsif|counterfeit|fake|blackmail|extort|brib|embezzl|stalk|spy|spies|"
    r"surveil|bully|harass|password|evad|exploit(?!at)|bypass|tamper|sabotag|vandal|infiltrat|disrupt|hijack|"
    r"dox|pirat|plagiar|cheat|rip\w* off|unauthori[sz]ed|without \w*'?s? ?consent|dark web|black market)",
    r"\b(?:drugs?\b|cocaine|coke\b|heroin|meth\b|methamph|crack|mari[hj]uana|illegal|illicit|crim|commit|rape|"
    r"rapist|molest|p[ae]*edophil|porn|sex|underage|nazi|hitler|holocaust|terror|genocide|ethnic cleansing|"
    r"massacre|make \w+(?: \w+)? (?:sick|ill|suffer|cry|pay for)|racis|racial|sexis|hate|hatred|discriminat|treason|"
    r"insurrection|riot|manipulat|deceiv|"
    r"secretly|covert|undetected|without (?:\w+ ){0,3}(?:knowing|noticing|permission)|get away with|"
    r"misinformation|disinformation|conspirac|propaganda|defam|radicali|undermin|destabili|gambl|"
    r"eating disorder|anorexi)",
    r"\b(?:auschwitz|concentration camp|gulag|apartheid|taliban|isis\b|khmer rouge|pol pot|pinochet|stalin|mussolini|"
    r"dictator|tyran|despot|regime|ku klux|klan\b|lynch|pogrom|inquisition|coup\b|crucif|enslav|subjugat)",
    r"\b(?:trespass|pick\w* (?:a|the|my|his|her)\b.{0,20}\block|break\w* in|rumou?r|gossip|lie\b|lies\b|lying|"
    r"deceiv|fool|trick|"
    r"scare|frighten|hitman|ram\b|ramming|opioid|addict|revenge|get back at|arrested|starv|stop eating|expos|"
    r"nude|groom|seduc|"
    r"coerc|forc(?:e|ing)\b|arrest|ex-(?:wife|husband|girlfriend|boyfriend)|unnoticed|without (?:paying|"
    r"getting caught))",
    r"\b(?:cruel|mock|insult|humiliat|demean|degrad|ridicul|belittl|offensive|vulgar|obscene|taunt|shame|mean "
    r"(?:joke|"
    r"poem))",
)
