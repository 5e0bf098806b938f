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
    r"answer|"
    r"refuse|"
    r"draft|write (?:the|a|my) (?:answer|response|reply))\b",
    re.I,
)
OPENS = re.compile(
    r"\A\W*(?:first,? )?(?:consider|let me consider|assess(?:ing)?|evaluat(?:e|ing)) (?:the|this) (?:request|prompt|"
    r"query)\s*:|\A\W*"
    r"thinking\W+(?:the|this) (?:request|prompt|query|question) is\b|"
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
# Openings that an answer may have too: they count only for a paragraph that another one follows.
MAY_OPEN = re.compile(
    r"\A\W*(?:my )?(?:thinking|reasoning|thoughts?|thought process|analysis)\W{0,3}[:\n]|"
    r"\A\W*(?:(?:okay|ok|alright|all right|got it|right|hmm+|well|so|now|first|wait)\b\W*){0,3}(?:"
    r"(?:the|this) user(?:'s|s')? (?:is |was |has |just |here )?(?:ask|want|request|seek|look|try|need|says?\b|said|"
    r"query|question|message|prompt)|"
    r"(?:we|i)(?: are|'re| am|'m| have been|'ve been) (?:being )?asked (?:about|for|how|to|whether|if|what|by)\b|"
    r"looking at (?:this|the|that) (?:request|question|prompt|query|message)|"
    r"let(?:'s| me| us) (?:tackle|break (?:this|it|that|down)|unpack|work (?:this|it|through)|process (?:this|the)|"
    r"look at (?:this|the) (?:request|question|prompt|query))|"
    r"(?:i|we) (?:need|have|want|should|must|ought)(?: to)? (?:respond|reply|answer|address|handle|deal with|assess|"
    r"evaluate) "
    r"(?:to )?(?:a|an|the|this) (?:\w+ )?(?:question|request|user|prompt|query))",
    re.I,
)
# "The user asks ..." in other languages.
FOREIGN_OPENS = re.compile(
    r"\A[\W\d_]*(?:\w{1,10}[\W_]+){0,3}?(?:el usuario|la usuaria|l'utilisat(?:eur|rice)|l'utente|o usuário|"
    r"o utilizador|"
    r"der (?:benutzer|nutzer|user|anwender)|de gebruiker|użytkownik|kullanıcı|người dùng|pengguna|пользователь|"
    r"المستخدم|"
    r"उपयोगकर्ता|صارف|ব্যবহারকারী)\b|"
    r"\A\W*(?:(?:好的?|嗯|首先|那么|现在|はい|まず|さて|네|음|우선)[,.、\s]*){0,2}(?:这个|该|這個)?(?:用户|用戶|"
    r"ユーザー?|사용자)",
    re.I,
)
REFUSES = re.compile(r"\b(?:decline|refuse|cannot|can't|can not|won't|unable)\b", re.I)
ENDS_REFUSING = re.compile(REFUSES.pattern + r"(?!.*\b(?:but|however|though|fine|okay|harmless)\b)", re.I | re.S)
ANSWER_MARK = re.compile(
    r"(?:^|\n)[ \t]*[*#]*[ \t]*(?:(?:final|my|actual) )?(?:answer|response|reply|output)[ \t]*[*]*"
    r"(?::[*]*[ \t\n]*|[ \t]*\n+)",
    re.I,
)
UNIT = re.compile(r"[^\n.!?]*[.!?]+[\"')\]]*(?:[ \t]+|(?=\n)|$)|[^\n.!?]+(?:\n|$)|\n+")


def strip_deliberation(text: str) -> str:
    """The answer without the reasoning before it; "" if the text has no answer.

    Text counts as reasoning only if it begins by speaking about the user or with a phrase such as "Let me think". The
    reasoning ends at a heading such as `Answer:`, or after the last sentence about what to say.
    """
    if not OPENS.search(text):
        return after_a_likely_thought(text)
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


def after_a_likely_thought(text: str) -> str:
    """The answer after a first paragraph that seems to be reasoning; the whole text if nothing seems to be."""
    first, *rest = re.split(r"\n[ \t]*\n", text)
    if not rest or not (MAY_OPEN.search(first) or FOREIGN_OPENS.search(first)):
        return text
    marks = list(ANSWER_MARK.finditer(text))
    if marks and (answer := text[marks[-1].end() :].strip()):
        return answer
    while len(rest) > 1 and DELIBERATES.search(rest[0]):
        rest = rest[1:]
    answer = "\n\n".join(rest).strip()
    # "Looking at this request, I can't help with it." is the answer itself
    end = [unit.group() for unit in UNIT.finditer(first) if unit.group().strip()][-1:]
    stays = end and ENDS_REFUSING.search(end[0]) and not REFUSES.search(answer[:200])
    return text if stays or not answer else answer


def after_last(text: str) -> str:
    """The text after the last sentence of reasoning."""
    units = list(UNIT.finditer(text))
    ends = [unit.end() for unit in units if DELIBERATES.search(unit.group()) or OPENS.search(unit.group())]
    rest = text[ends[-1] :].strip() if ends else text
    # "I must decline." may be a plan or the answer; as the last sentence it is the answer
    final = units[-1].group().strip() if units else ""
    return rest or (final if REFUSES.search(final) and not OPENS.search(final) else "")
