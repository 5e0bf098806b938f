"""Kinds of language by which an answer says that it will not or cannot do what was asked.

Each pattern is one family of wording over an expanded answer (`language.expand`): who refuses, how, and what.
"""

from __future__ import annotations

from .language import any_of

SPEAKER = r"\b(?:i|we|(?:this|the) (?:ai|assistant|chatbot))(?= )"
UNWILLING = (
    r" (?:cannot|will (?:not|never)|(?:must|should) not|would not be able|(?:need to |have to |"
    r"going to )*(?:respectfully |"
    r"politely )?decline|refuse|unable|not (?:be )?(?:\w+ly )?(?:able|willing|allowed|permitted|comfortable|"
    r"going|designed|programmed|here|equipped|authori[sz]ed|prepared|in a position)|not (?:feel )?comfortable)"
)
ASSISTING = (
    r"(?:help(?! (?:but|\w+ing|\w+self|it)\b)|assist|aid|provid|fulfil|giv(?!e (?:up|in)\b|ing up)|offer|"
    r"answer|support|comply|creat|generat|writ|engag|discuss|condon|suggest|recommend(?!.{0,40} enough)|advis|"
    r"encourag|promot|participat|do (?:that|this|so|it)|shar|disclos|reveal|"
    r"tell(?! (?:if|whether|whe(?:n|re)|wh(?:o|at|ich|y)|how)\b)|teach|explain|describ|"
    r"respond|repl|continu|complet|satisfy|proceed|facilitat|endors|carry|perform|advocat|justif|guid|"
    r"instruct|address|speculat|mak(?!e (?:\w+ )?calls)|produc|contribut|be (?:of|an? part|part)|accept|access|"
    r"translat|execut|pretend|"
    r"act\b|role|process|design|draft|craft|compos|fabricat|invent|outlin|walk you|go (?:into|along|through)|"
    r"get into|includ|list\b|rank|compil|simulat|impersonat|play along|set aside|optimi[sz]|coach|"
    r"develop|supply|enabl|express|demonstrat|take (?:part|on)|put together|come up with|talk (?:about|to you)|"
    r"speak (?:about|on)|plan\b|look (?:up|into)|retriev|glorif|normali[sz]|trivial)"
)
CANNOT = any_of(
    SPEAKER
    + r"(?: am| is| are| do| have| would| will| really| just| simply| therefore| also| still| must| \w+ly)*"
    + UNWILLING
    + r"(?: \w+ly| to| even| in (?:good (?:conscience|faith)|any (?:way|form|shape)|all (?:honesty|conscience))|"
    r" under (?:any|no) circumstances| at this time| "
    r"ever| with| by| be| able| also| and (?:will|would|must|should) not| \w+(?:, \w+)?,? (?:or|and|nor))* "
    + ASSISTING,
    r"\bi (?:cannot|will not|am unable to|am not able to)\W*(?:[.!,;]|$)",
    r"\bnot (?:\w+ )?(?:appropriate|ethical|acceptable|right|safe|legal|responsible)(?:,? (?:or|and|"
    r"nor) \w+)?(?: for me| of me)? to (?:provide|discuss|promote|give|share|offer|encourage|answer|explain|"
    r"describe|engage|assist|help)\b",
    r"\b(?:i|we) do not (?:\w+ly )?(?:help(?! (?:but|\w+ing|\w+self|it)\b)|do (?:that|this|such|those)|answer|"
    r"give out|"
    r"teach|go there|"
    r"get involved|deal with (?:that|this|such)|take requests|respond to)\b",
    r"\b(?:i|we) will not be (?:\w+ly )?(?:able|helping|assisting|providing|answering|giving|doing|writing|sharing|"
    r"explaining|taking)\b|"
    r"\b(?:i|we) (?:will|would|am going to|have to|must|shall) (?:have to |rather )?(?:pass on (?:this|"
    r"that)\b(?! (?:\w+ )?(?:tip|advice|message|note|recipe|link|word))|say no|sit this "
    r"one out|"
    r"stop (?:here|there|you)|turn (?:this|that|you) down|not (?:touch|entertain|go (?:there|near)))|\bcount "
    r"me out\b|"
    r"\b(?:out of|off) the question\b|\b(?:off|not) (?:the )?(?:limits|table)\b(?= for me)|\bi shall not\b|"
    r"\bmy answer is no\b|\bnot something (?:i|we) (?:would|do|offer|provide|help)",
    r"\bi do not (?:provide|assist|support|condone|engage|participate|fulfil|promote|encourage|write|create|"
    r"generate|produce|discuss|offer|share|tell (?:\w+ )?jokes|take (?:part|on)|make (?:fun|jokes)|"
    r"(?:feel|am) comfortable)|\b(?:i|we)\b[^.!?,;]{0,25} not (?:be |feel )?(?:\w+ly )?comfortable\b(?: with| "
    r"about| doing)|"
    r"^\W*not comfortable\b",
    r"\bi (?:can|could|would be (?:happy|glad) to|am happy to|will gladly)\b[^.!?]{3,160}\bbut not\b",
    r"\b(?:request|prompt|question|this|that|assistance|help|support|instructions|guidance|information|details?)"
    r"(?: (?:with|on|for|about|of) \w+(?: \w+)?)? (?:cannot|will not|must not|should not) be (?:\w+ )?(?:fulfilled|"
    r"answered|completed|processed|granted|given|provided|offered|shared|disclosed|supplied)",
    r"\bi (?:\w+ ){0,4}(?:refrain|abstain) from\b",
    r"(?:^\W*|\bbut,? |[,.;] )(?:cannot|unable to|not able to|will not) (?:help|assist|fulfil|comply|provide|"
    r"answer|support|do)\b",
    r"\bnot (?:something|a request|a topic|a task) (?:that |which )?(?:i|we) (?:can|am|will|should)|"
    r"\bdo not think (?:that )?i (?:can|should)\b",
    r"\b(?:against|outside|beyond|not within) (?:of )?(?:all )?(?:(?:my|our) (?:\w+ )?|the \w+ of my )(?:programming|"
    r"guidelines|polic|principles|capabilit|purpose|scope|ethic)|\boutside (?:of )?what i can\b",
    r"\bi (?:would|will) (?:rather|prefer) not\b|\bi (?:must |have to )?(?:decline|refuse)\b|"
    r"\b(?:request|access) denied\b",
    r"\bi (?:\w+ )*(?:have|need|going) to (?:\w+ly )?decline\b|\bno way (?:that )?i\b|"
    r"violat\w+ (?:\w+ )?(?:our|my|usage|content|the) (?:\w+ )?(?:polic|guideline|terms)",
)
# A request for a text is refused; the writer of a letter seldom says so.
TEXT_REFUSED = any_of(
    r"\bi(?: am| \w+ly)* (?:cannot|will not|unable to|not able to) (?:help|assist)(?: you)? (?:with|"
    r"in) (?:that|this|your)",
    r"\bi(?: am| \w+ly)* (?:cannot|will not|unable to|not able to) (?:\w+ly )?(?:provide|fulfil|comply|"
    r"generate|create|write|translate|engage|discuss|promote|condone|repeat|continue)",
)
TASK_REFUSED = any_of(
    TEXT_REFUSED.pattern,
    r"\bas an? (?:\w+ )?(?:ai\b|artificial|assistant|language model)|"
    r"\bi do not (?:condone|promote|engage|participate)",
)
# The answer does not say "I cannot": its rules forbid it, it would be wrong, it chooses not to, it stops here.
OTHER_WAYS = any_of(
    r"\bi am (?:really )?not supposed to (?:help|answer|tell|say|share|do|write|explain|give)|"
    r"\bnormally,? i would (?:decline|refuse|"
    r"not)\b|^\W*i (?:really |probably )?should not,? but\b",
    r"\b(?:my|our) (?:\w+ ){0,2}(?:guidelines?|programming|polic(?:y|ies)|rules|principles|values|training|design|"
    r"creators|developers|instructions|conscience|ethics|boundar\w+)\b[^.!?]{0,25} (?:not (?:allow|permit|let|enable|"
    r"support)|forbids?|prohibits?|prevents?|stops? me|keeps? me from|bars?|restricts?|rules? (?:this|that|it) "
    r"out)\b",
    r"\b(?:i|we) (?:am|are|have been|was) (?:\w+ly )?(?:(?:prohibited|forbidden|barred|banned|prevented|restricted|"
    r"precluded|kept) from\b|(?:designed|programmed|trained|built|made|instructed|required|obliged|told) (?:to "
    r"(?:avoid|"
    r"refuse|decline|reject|not)|not to)\b)",
    r"\b(?:it|that|this) would (?:also )?(?:be (?:\w+ly )?(?:wrong|irresponsible|inappropriate|unethical|"
    r"improper|unsafe|"
    r"dangerous|unlawful)|not be (?:\w+ly )?(?:right|appropriate|ethical|responsible|proper|okay|ok|safe|"
    r"fair)) (?:of|for) "
    r"(?:me|us|an ai)\b|\b(?:not possible|impossible) for (?:me|us) to\b",
    r"\b(?:i|we)\b[^.!?,;]{0,20} not feel (?:\w+ly )?(?:right|good|at ease|okay|ok|safe) (?:about |with |in "
    r")?(?:assist|help|"
    r"provid|giv|answer|shar|writ|explain|discuss|do|this|that|your)",
    r"\b(?:not|neither|never) (?:something|anything|a thing|one|an? (?:\w+ )?(?:request|topic|task|subject|"
    r"question|area|"
    r"conversation)|the kind of \w+) (?:that |which |for which |where )?(?:i|we) (?:can|could|am|will|would|"
    r"should|do|may|want|"
    r"offer|provide|help|ever|feel)\b",
    r"\b(?:i|we) (?:\w+ ){0,2}(?:choose|prefer|opt|elect|decided|chosen|chose) not to "
    + ASSISTING
    + r"|\b(?:i|we) (?:will|would|can|could) never "
    + ASSISTING,
    r"\b(?:i|we) would not (?:want to |ever |be willing to |dare to )?(?:help|assist|provide|share|give (?:you|"
    r"out|it|that|this)|support|"
    r"tell (?:you|anyone)|explain|answer|describe)\b",
    r"\b(?:i|we) (?:am|are) (?:\w+ly )?not (?:helping|assisting|telling you|giving (?:you|out|that|this|any)|"
    r"doing (?:that|this|it|so)|providing|sharing (?:that|this|any)|explaining|answering|writing (?:that|this)|"
    r"getting into (?:that|this)|discussing|teaching (?:you|that|this)|showing you|going there)\b",
    r"^\W*(?:(?:no|nope|sorry|nice try)\W+(?:but )?)?(?:not (?:doing|touching|helping|answering|going to (?:do|"
    r"help|answer|"
    r"happen))\b|(?:no can do|hard pass)\b|cannot (?:do|help|assist|answer|say)\b(?! but))",
    r"\b(?:beyond|outside(?: of)?|more than) what (?:i|we) (?:\w+ )?(?:can|may|am|are|will)\b|\b(?:i|we) "
    r"(?:\w+ ){0,3}draw "
    r"the line\b",
    r"\b(?:i|we) (?:(?:will|would|must|shall|need|have|am going|do|respectfully|politely)(?: to)? )+(?:turn "
    r"(?:this |that |it |"
    r"you |your \w+ )?down|(?:respectfully |politely )?pass on(?! (?:one|a|an|some|my|another|the) (?:\w+ )?(?:tip|"
    r"advice|message|note|recipe|link|word|trick)))\b",
    r"\b(?:i|we)\b[^.!?]{0,70} not (?:have|given) (?:the |any )?(?:ability|permission|authori[sz]ation|"
    r"authority|capability|"
    r"capacity|means|right)(?: (?:or|and|nor) \w+)? to (?!make|express|access|process|access)" + ASSISTING,
    r"\b(?:i|we)\b[^.!?;]{0,60},? and (?:so |therefore |also )?(?:cannot|will not|would not|must not) (?:\w+ly )?"
    + ASSISTING
    + r"|\b(?:i|we) never (?:help|assist)\b|^\W*(?:i|we) do not do [\w-]+(?:,? (?:here|sorry|at all|ever))?\W*$",
    r"\bno (?:intention|interest|desire) (?:of|in|to) (?:help|assist|giv|answer|provid|shar|do)|\bnot (?:a "
    r")?part of what (?:i|we) |"
    r"\b(?:not|hardly) (?:\w+ )?(?:within|in) my (?:ability|abilities|power|remit|programming|scope|nature)\b|"
    r"\b(?:obligation|duty|instructed|supposed|obliged) not to\b|\bcrosses (?:a|the|my) line\b|\bi am out\b\W*$|"
    r"\b(?:conflicts?|at odds|incompatible|clash\w*) with (?:my|our|the) (?:\w+ )?(?:rules|guidelines|"
    r"principles|polic|values|"
    r"standards|purpose)",
    r"\b(?:providing|giving|sharing|offering|answering|helping|assisting|supporting|explaining|writing) (?:\w+ "
    r"){0,4}(?:would|"
    r"is|could) (?:be )?(?:\w+ly )?(?:irresponsible|unethical|illegal|wrong|dangerous|harmful|inappropriate|"
    r"against|a violation|"
    r"not (?:\w+ )?(?:appropriate|ethical|right|possible|allowed|within|something|responsible))",
    r"\bmy (?:purpose|goal|aim|job|role|function|task) is\b[^.!?]{0,80}(?:,| and) not to |"
    r"\b(?:content|information|answer|material|topic) is (?:not available|unavailable|restricted|off limits|blocked)|"
    r"\bthis is where i (?:stop|draw)|\boff limits for me\b",
    r"\b(?:i|we) can only (?:\w+ly )?(?:help|assist|provide|offer|answer|support|discuss)\b|\b(?:i|we) (?:\w+ "
    r")?(?:will have|"
    r"want|take) (?:no part|nothing to do)\b|\bplease (?:stop|refrain from|do not) ask",
)

# Short and casual ways: "I'll pass", "a hard no from me", "let's not go there", "nice try".
CASUAL_WAYS = any_of(
    r",? so (?:i will pass|i am out|it is a no|no)\W*$|\boff the table for me\b|\byou (?:will|would) not (?:get|"
    r"receive|have) "
    r"(?:an?|any) [^.!?,]{3,40} from me\b",
    r"^\W*(?:(?:i (?:will|would|have to|think i will|am going to) )?(?:have to )?pass(?: on (?:this|that)(?: one)?)?|"
    r"nice try|no thanks|no,? thank you|nah|nuh-uh|hard no|nope)(?:,? (?:thanks|thank you|sorry|but no|on (?:this|that)"
    r"(?: one)?))?\W*$",
    r"\b(?:it|that|this)(?: one)? (?:is|would be|has to be|will have to be|must be|gets) (?:\w+ ){0,3}no(?:-go)? "
    r"(?:from|for|with) me\b|\b(?:it is|that is|this is) a (?:hard|firm|big|flat|clear) no\b",
    r"\b(?:something|anything|a (?:\w+ )?(?:topic|subject|request|area|line)|where|that|"
    r"this)[^.!?]{0,20} i (?:\w+ ){0,4}?"
    r"(?:steer clear|keep (?:well )?(?:away|out)|stay (?:well )?(?:away|out|clear)|shy away|do not cross|draw (?:a|"
    r"the|my) line)\b",
    r"\bi (?:(?:will|would|must|should|have to|need to|want to|try to|prefer to|rather|tend to|like to|always|"
    r"am going to) )+"
    r"(?:steer (?:well )?clear|keep (?:well )?(?:away|clear|out)|stay (?:well )?(?:away|out|clear)|shy away) (?:of|"
    r"from)\b|"
    r"\bi am (?:steering (?:well )?clear|(?:staying|keeping) (?:well |far )?(?:away|out|clear)|leaving (?:this|that|it|"
    r"your request)(?: one)? alone)\b|"
    r"\bi (?:will|would|must|have to) (?:\w+ )?(?:leave (?:this|that) one(?: alone)?|draw (?:a|the|my) line)\b|"
    r"\bi am drawing (?:a|the|my) line\b",
    r"\b(?:let us|we (?:will|are|should)|i am) not (?:go(?:ing)? (?:there|down (?:that|this) (?:road|path|route))|"
    r"(?:get|getting) into (?:this|that)|(?:do|doing) (?:this|that))\b(?! (?:by|in|on|until|with)\b)|"
    r"\bi do not go there\b",
    r"\bi (?:\w+ ){0,3}(?:like|love|want|try|aim|happy|glad)\b[^.!?]{0,40}\bbut not (?:for|with|in) (?:crimes?|theft|"
    r"fraud|violence|"
    r"anything|things|harm\w*)\b|\b(?:i|happy|glad|helpful|useful|help|assist)\b[^.!?]{0,60}\bbut not (?:with|for|in|"
    r"on|like|when it comes to) "
    r"(?:this|that|it|something (?:like|so)|anything like|such)\b",
    r"\b(?:let us|(?:can|could|shall|may) we|how about we) (?:please |instead |rather )?(?:talk about|discuss|"
    r"turn to|move on to|find|choose|pick|"
    r"stick to) (?:(?:something|"
    r"anything) (?:else|different|new|more|less|\w+er|pleasant|positive|kind|nice|fun|happy|useful|safe|legal|lawful|"
    r"cheerful)\b|"
    r"(?:another|an? (?:different|safer|better|kinder|nicer|lighter)|safer|kinder|nicer|lighter|happier|"
    r"other) (?:topic|subject|"
    r"conversation|thing)s?\b)|\blet us (?:change|switch|drop) (?:the |to another )?(?:subject|topic)",
    r"\b(?:i|we) (?:do|would|will) not (?:usually |normally |typically |generally |ever |simply )?(?:give|dignify|"
    r"sell|hand (?:out|over)|"
    r"touch|entertain|indulge|humou?r|go (?:there|down)|play (?:that|this)|lend|have any part)\b(?! up\b)|\b(?:i|we) "
    r"do not "
    r"(?:usually|normally|typically|generally) "
    + ASSISTING
    + r"|\b(?:is|are) (?:simply |just |really )?not (?:\w+ )?(?:my thing|for me|up for discussion|on (?:offer|the "
    r"(?:menu|table))|something i\b|"
    r"open to)|\b(?:skip (?:this|that)(?: one)?|i (?:have|will have) no business|(?:a|one) (?:step|bridge|line) too "
    r"far|stop you (?:right )?"
    r"(?:there|here)|the limits? (?:stay|remain|stand)|(?:something|one|a part|the part|what) i (?:will |would |"
    r"always |have to )?(?:leave "
    r"out|keep out|skip|keep to myself))\b",
    r"^\W*(?:the )?(?:assistant|model|ai|system|request|message|prompt|content|response|answer|"
    r"permission)\b[^.!?]{0,30} "
    r"(?:declin|refus|block|den(?:y|ie)|reject|withheld|removed|not (?:available|permitted|allowed))",
    r"\bnot an? (?:\w+ )?(?:topic|lesson|thing|subject|area|matter|role|service|skill|trick)\b[^.!?]{0,20}\bi\b|"
    r"\bstep out of (?:the|"
    r"this|that|my) role\b|\b(?:this|that|it) is (?:one|something|a \w+) (?:that )?i (?:\w+ )?(?:leave|skip|avoid|"
    r"decline|refuse|keep out of)\b",
    r"\binstead of (?!refus|declin|saying)(?:an? |the |making |writing )?[^.!?,]{2,30}, (?:why not|how about|what "
    r"about|let us|maybe|i "
    r"(?:can|could|will|"
    r"would))\b",
    r"\bnot (?:an? |the |really )?(?:\w+ ){0,3}(?:that |which )?(?:i|we) (?:am|are|feel) (?:\w+ ){0,2}(?:comfortable|"
    r"willing|"
    r"prepared|keen|happy|going)\b|\bsit(?:ting)? (?:this|that|it)(?: one)? out\b",
    r"\bi (?:am (?:\w+ )?(?:happy|glad|willing)|can|could|will|would)\b[^.!?]{0,60},? (?:but|though|although|just) not "
    r"(?:an? |the )?(?:one|ones|those|that|if|as|\w+) (?:that|which|who|to|it|this)\b",
    r"^\W*(?:sorry\W+)?(?:i|we) do not (?:do|touch|handle|joke about) (?:[\w-]+ ){0,3}[\w-]+\W*$|"
    r"\b(?:i|we) do not (?:really |ever )?(?:want|wish|care|intend|plan) to (?:be \w+ )?(?!offend|confuse|mislead|"
    r"bore|give away)"
    + ASSISTING
    + r"|\b(?:i|we) (?:would|will|should) leave (?:it|that|this) (?:up )?to (?:them|him|her|your|the)\b",
    r"\b(?:you (?:will|would) (?:not|never) (?:get|hear|find|learn)|do not expect) (?:that|this|it|any of (?:that|"
    r"this)|"
    r"(?:any )?(?:help|instructions|such \w+)) from me\b|\bfind (?:someone|somebody) else\b|\bnot (?:happening|"
    r"from me)\b\W*$",
)

INABILITY = any_of(CANNOT.pattern, OTHER_WAYS.pattern, CASUAL_WAYS.pattern)

# A moral reason beside "I cannot": no misunderstanding, doubt or fiction excuses such a sentence.
MORAL_REASON = any_of(
    r"\b(?:crimes?|criminal|illegal|unethical|immoral|violen\w+|harmful|dangerous|hateful|"
    r"unlawful)\b"
)

# "No." is a refusal of a request, but an answer to a yes-or-no question.
BLUNT_NO = any_of(
    r"^\W*(?:(?:sorry,? |hell )?(?:no|nope)(?:,? sorry|, not (?:going to happen|happening))?|no way|never|"
    r"not a chance|(?:absolutely|certainly|definitely|of course) not|"
    r"(?:please,? )?do not(?: (?:do|try|attempt|even (?:try|think about)) (?:this|that|it)|"
    r" even try)?(?: please)?)\W*$|"
    r"^\W*(?:no|nope),? (?:and|so) (?:i|you|please|do not|leave|stop|let)\b"
)
