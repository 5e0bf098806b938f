"""Letters and messages that a prompt in another language than English asks for: their writer may be unable to come."""

from __future__ import annotations

import re

from .foreign_cues import INABILITY
from .language import any_of, fold, fold_pattern

LEAST_LETTERS, NEARBY = 20, 200  # letters of a message; characters after a greeting
# A letter, a message or a note that somebody else is to read; its writer may be unable to do something.
MESSAGE = any_of(
    r"\b(?:e-?mail|mail|mel|correo|carta|mensaje|nota|lettre|message|mot|mensagem|lettera|messaggio|brief|nachricht|"
    r"bericht|list|"
    r"wiadomość|письмо|сообщение|записк\w+|mektup|mesaj|e-posta|e-postası|thư|tin nhắn|surat|pesan|memo)\b|"
    r"メール|手紙|文面|メッセージ|メモ|메일|편지|문자|邮件|郵件|信|短信|请假条|पत्र|आवेदन|ईमेल|संदेश|চিঠি|আবেদন|ইমেইল|"
    r"বার্তা|خط|درخواست|ای میل|"
    r"پیغام|رسالة|بريد|خطاب"
)
# How a message begins, on a line of its own.
SALUTATION = re.compile(
    fold_pattern(
        r"^[^\w\n]*(?:"
        r"(?:asunto|objet|assunto|oggetto|betreff|onderwerp|temat|тема|konu|tiêu đề|chủ đề|subjek|subyek|perihal|"
        r"subject|件名|"
        r"제목|主题|主題|विषय|বিষয়|موضوع|الموضوع)[ \t]*:[^\n]*|"
        r"(?:estimad|querid|apreciad|hola|buen[oa]s|chers?\b|chère|madame|monsieur|bonjour|salut|prezad|car[oai]\b|"
        r"olá|oi\b|bom "
        r"dia|boa tarde|gentil|egregi|ciao|buongiorno|spett|sehr geehrte|liebe|hallo|guten tag|hi\b|geachte|beste|"
        r"lieve|hoi|"
        r"szanown|drog[ai]|dzień dobry|cześć|witam|уважаем|дорог|здравствуйте|добрый|привет|sayın|sevgili|merhaba|"
        r"değerli|iyi "
        r"günler|kính|thân|gửi|chào|xin chào|thưa|yth|kepada|halo|selamat|bapak|ibu|nasabah|dear|안녕하세요|"
        r"尊敬的|亲爱的|親愛的|您好|敬启|"
        r"お世話に|拝啓|महोदय|प्रिय|आदरणीय|सेवा में|श्रीमान|नमस्ते|মহোদয়|প্রিয়|শ্রদ্ধেয়|জনাব|মাননীয়|جناب|"
        r"محترم|عزیز|السلام|"
        r"السيد|عزيز|"
        r"الأستاذ|حضرة|تحية|سعادة)[^\n!?。।۔]{0,40}[,:!.،]?[ \t]*|"
        r"[^\n]{1,15}(?:様|さん|各位|先生|님께?|께|귀하|老师|老師|经理|經理|女士|领导|主任|主管|总)(?:您好|"
        r"你好)?[,:!]?[ \t]*)$"
    ),
    re.M,
)


GREETING = any_of(
    r"^\W*(?:hola|bonjour|salut|olá|oi|ciao|buongiorno|hallo|hi|hoi|guten tag|cześć|dzień dobry|привет|здравствуйте|"
    r"merhaba|xin chào|chào bạn|halo|selamat \w+|您好|你好|안녕하세요|नमस्ते|السلام عليكم|مرحبا)\W*$"
)


def asks_for_message(prompt: str) -> bool:
    """Whether a prompt asks for a letter or a message, in any language that the rules read."""
    return bool(MESSAGE.search(fold(prompt)))


def before_message(prompt: str, text: str) -> str:
    """The answer up to the message that the prompt asks for; the whole answer if it has none."""
    return text[: begins(prompt, text)]


def has_message(prompt: str, text: str) -> bool:
    """Whether an answer contains the message that the prompt asks for."""
    start = begins(prompt, text)
    return start is not None and sum(map(str.isalpha, text[start:])) >= LEAST_LETTERS


def begins(prompt: str, text: str) -> int | None:
    """Where the message begins that the prompt asks for; None if the answer has none."""
    if not asks_for_message(prompt):
        return None
    folded = fold(text)
    found = SALUTATION.search(folded)
    if found is None:
        return None
    rest = folded[found.end() :].strip()
    # an assistant may greet as well, and refuse in the same line or below it
    refused = INABILITY.search(rest[:NEARBY]) if GREETING.search(found.group()) else INABILITY.search(found.group())
    if refused or not rest:
        return None
    return len("".join(text.splitlines(keepends=True)[: folded[: found.start() + 1].count("\n")]))
