"""What a prompt in another language than English asks for; the patterns are over folded text (`language.fold`)."""

from __future__ import annotations

from .foreign_cues import INABILITY
from .inability_cues import INABILITY as ENGLISH_INABILITY
from .language import any_of, expand, fold
from .prompt_cues import YES_OR_NO
from .reading import read_prompt

SHORT_PROMPT = 250  # characters

# Questions whether something is allowed or true; "can you ...?" is a request.
ASKS_WHETHER = any_of(
    r"(?:^|[.!?\u00bf\n,] *)(?:(?:se )?(?:puedo|puede|podemos)|es (?:legal|ilegal|delito|lícito)|está (?:permitido|"
    r"prohibido)|puis-je|"
    r"peut-on|a-t-on le droit|ai-je le droit|est-ce (?:légal|illégal|permis|interdit|que (?:je|on|c'est))|est-il|"
    r"darf|dürfen|"
    r"kann (?:ich|man)|ist (?:es|das)|posso|(?:a gente )?pode(?:-se)?\b(?! me)|é (?:legal|permitido|ilegal|crime|"
    r"proibido)|"
    r"si può|è (?:legale|illegale|permesso|vietato|reato)|mag (?:ik|je|men)|kan ik|is het|czy(?! (?:możesz|mógłbyś|"
    r"pomożesz|napiszesz))|"
    r"можно(?: ли)?|могу ли|законно ли|разрешено ли|нельзя ли|apakah(?! (?:kamu|anda))|bolehkah|boleh|هل(?! (?:يمكنك|"
    r"تستطيع|بإمكانك))|"
    r"क्या(?! (?:आप|तुम))|کیا(?! (?:آپ|تم))|tôi có (?:được|thể))(?=\s|$)",
    r"^(?!.*(?:帮|幫|教|告诉|告訴|写|寫|给我|給我|你能|你会|您能)).*(?:吗|嗎|可不可以|能不能|是否|违法不|犯法不)",
    r"(?:যায়|কি|উচিত|বৈধ|অবৈধ)\s*(?:না )?\?|(?<!\w)কি (?!করে|ভাবে)(?!.*(?:আপনি|তুমি))",
    r"^(?!.*(?:कैसे|बता|लिख|सिखा|दे सक|दीजि|आप |तुम)).*(?:संभव|मुमकिन|सकता|सकते) (?:है|हैं)\s*\?|"
    r"\bm[ıiuü](?:y[ıi]m|y[ıi]z|d[ıi]r|dur|dür)?\s*\?|\bcó (?:được|hợp pháp|phạm pháp|vi phạm)\b.*\bkhông",
    r"^(?!.*(?:方法|教え|くれ|もらえ|どう|なぜ|どこ|何|いつ|誰)).*(?:ですか|ますか|でしょうか)|(?:되나요|될까요|"
    r"인가요|한가요|합법|"
    r"불법)[^.]*\?|"
    r"^(?!.*(?:어떻게|방법|무엇|뭐|어디|누구|왜|언제|줄 수|주실 수|주시)).*수 (?:있나요|있을까요|있습니까)",
)
# A request for instructions, for a text, or for a place to get something: "No." alone refuses it.
WANTS = any_of(
    r"\b(?:cómo|dame|dime|escrib\w+|redacta|enséñ\w+|explic\w+|dónde|necesito|ayúdame|hazme|genera|cuéntame|comment|"
    r"donne|"
    r"écri\w+|rédige\w*|explique\w*|apprends|montre\w*|où|dis-moi|aide\w*|como|escrev\w+|ensin\w+|me d[êi]\w*|onde|"
    r"crie|come|"
    r"dammi|dimmi|scriv\w+|spieg\w+|insegn\w+|dove|aiutami|wie|gib|schreib\w*|erklär\w*|zeig\w*|wo|sag mir|hilf|"
    r"nenn\w*|hoe|geef|"
    r"schrijf|leg|vertel|waar|help|jak|podaj|napisz|wyjaśnij|powiedz|gdzie|pomóż|naucz|как|напиши\w*|расскажи\w*|"
    r"дай\w*|"
    r"объясни\w*|где|научи\w*|помоги\w*|сделай\w*|составь\w*|nasıl|yaz|anlat|ver|açıkla|nerede\w*|öğret|làm sao|"
    r"làm thế nào|hãy|"
    r"viết|hướng dẫn|ở đâu|giúp|bagaimana|ajar\w*|tulis\w*|berikan|jelaskan|di mana|bantu|buat\w*)\b",
    r"方法|教え|書い|作り方|ください|どこ|どうやって|방법|알려|써 ?줘|작성해|설명해|어디|가르쳐|어떻게|怎么|怎樣|怎样|"
    r"如何|教我|写|寫|告诉|"
    r"告訴|帮我|幫我|给我|給我|哪里|哪裡|怎麼|कैसे|तरीक|बता|लिख|सिखा|कहां|কীভাবে|কিভাবে|উপায়|বলো|বলুন|লেখ|শেখা|কোথায়|"
    r"کیسے|طریق|"
    r"بتا|لکھ|سکھا|کہاں|كيف|أعطن|اكتب|علمن|اشرح|أين|أخبرن|قل لي|طريقة",
)
TRANSLATE = any_of(
    r"\btradu[cizs]\w*|\bübersetz|\bvertaal|\bprzetłumacz|\bперевед|\bçevir|\bdịch\b|\bterjemah\w*|翻译|翻譯|译成|"
    r"訳して|"
    r"翻訳|번역|अनुवाद|অনুবাদ|ترجم"
)
# A text that declines, cancels or excuses: its writer says "I cannot".
DECLINING = any_of(
    r"\b(?:rechaz|declin|cancel|renunci|excus|dimisi|ausencia|refus|déclin|annul|démission|recus|demissão|"
    r"rifiut|disdett|"
    r"disdire|dimission|absag|ablehn|kündig|entschuldig|krankmeld|abmeld|afzeg|afwijz|opzeg|ziekmeld|afmeld|odmow|"
    r"odmaw|odrzuc|rezygn|wypowiedzen|nieobecno|отказ|отклон|отмен|увольнен|отсутстви|menolak|penolakan|izin|"
    r"pembatalan|membatalkan|pengunduran|reddet|iptal|istifa|mazeret)\w*|"
    r"\b(?:no (?:ir|poder|podré|asistir|voy)|ne (?:viendrai|pourrai|peux) pas|não (?:vou|irei|posso|poder)|"
    r"non (?:posso|"
    r"potrò|verrò)|nicht (?:kommen|teilnehmen|kann)|не (?:приду|смогу|могу)|tidak (?:masuk|hadir|bisa)|từ chối|hủy|"
    r"xin nghỉ)\b|\w*(?:gelemeye|katılamaya)\w*|رفض|اعتذار|إلغاء|استقالة|عدم|غياب|मना कर|अस्वीकार|छुट्टी|रद्द|इस्तीफ|"
    r"প্রত্যাখ্যান|ছুটি|বাতিল|অনুপস্থিত|انکار|معذرت|چھٹی|منسوخ|استعف|拒绝|拒絕|婉拒|推辞|取消|请假|請假|辞职|谢绝|断る|"
    r"断り|辞退|欠席|欠勤|キャンセル|退職|거절|사양|취소|불참|결근|사직"
)
WRITE = any_of(
    r"\b(?:escrib|redact|rédig|écri|escrev|redij|scriv|schreib|verfass|formulier|schrijf|napisz|напиши|составь|"
    r"tulis|buat|"
    r"yaz|viết|soạn)\w*|写|寫|書い|써|작성|लिख|লেখ|লিখ|لکھ|اكتب"
)
# The user means to prevent a wrong, to report it or to recognise it.
PREVENTS = any_of(
    r"\b(?:proteg|denunci|preven|evit|recuper|reconoc|detect|protég|signal|dénonc|prévenir|récupér|reconnaî|reconhec|"
    r"identific|riconosc|segnal|schütz|meld|anzeig|erstatt|vermeid|verhinder|erkenn|wehr|bescherm|aangifte|"
    r"voorkom|herken|"
    r"chroni|zgłos|zapobie|unikn|rozpozna|защи|сообщ|заявл|избеж|предотвр|распозна|борот|melindungi|melapor|lapor|"
    r"mencegah|menghindar|mengenal|koru|bildir|şikayet|önle|kaçın|bảo vệ|báo cáo|tố cáo|tránh|nhận biết)\w*|حماي|أحمي|"
    r"إبلاغ|أبلغ|تجنب|وقاية|أتعرف|बचा|बचें|बचना|शिकायत|रिपोर्ट|पहचान|रोक|রক্ষা|অভিযোগ|এড়া|প্রতিরোধ|চিন|"
    r"\bzeig\w* .*\ban\b|بچ|شکایت|رپورٹ|روک|پہچان|"
    r"保护|防|举报|避免|识别|应对|报警|怎么办|守る|守れ|防ぐ|防げ|通報|避ける|対策|見分け|予防|届け|보호|신고|"
    r"예방|피하|막는|막을|대처"
)
# The wrong goes on ("without being caught"), so nobody prevents it.
EVADES = any_of(
    r"\b(?:polic|polizei|politie|полици|descub|détect|erwisch|entdeck|yakalan|ketahuan|tertangkap)\w*|bị bắt|"
    r"bị phát hiện|"
    r"警察|警方|被发现|被抓|ばれ|捕ま|경찰|पुलिस|पकड़|شرطة"
)
DEFINES = any_of(
    r"\b(?:qu[ée] es|qué significa|qu'est-ce|que signifie|o que é|o que significa|cos'è|cosa (?:è|significa)|"
    r"was (?:ist|sind|"
    r"bedeutet)|wat (?:is|betekent)|co to (?:jest|znaczy)|что такое|что значит|apa (?:itu|arti)|nedir|"
    r"ne demek)\b|là gì|ما "
    r"(?:هو|هي|معنى)|क्या (?:है|होता|मतलब)|(?:কী|কাকে বলে)\s*[?।]|کیا ہے|什么是|是什么|什麼是|是什麼|とは|뭐|무엇|"
    r"\b(?:ley|leyes|loi|lois|lei|leis|legge|gesetz|wet|закон|hukum|undang-undang|yasa|luật)\b|法律|법률|कानून|قانون"
)
# A text in which others than the assistant speak: literature, a diary, a part that it plays.
LITERATURE = any_of(
    r"\b(?:diario|discurso|monólogo|pres[ée]nta?te como|haz de|journal(?: intime)?|discours|présente-toi comme|diário|"
    r"apresente-se "
    r"como|presentati come|tagebuch\w*|stell dich|rede\b|dagboek\w*|toespraak|stel je voor als|dziennik\w*|"
    r"pamiętnik\w*|przedstaw się|"
    r"дневник\w*|речь|представься|günlük|konuşma|gibi tanıt|nhật ký|giới thiệu như|catatan harian|buku harian|"
    r"perkenalkan dirimu)\b|"
    r"日记|日記|演讲|口吻|扮演|スピーチ|なりきって|일기|연설|처럼 자기소개|डायरी|भाषण|की तरह अपना|ডায়েরি|মতো নিজের|"
    r"ڈائری|کی طرح اپنا|يومي[ةا]|خطاب|كأنك|"
    r"\b(?:cuento|historia|relato|poema|canción|diálogo|novela|guion|monólogo|conte|histoire|poème|chanson|dialogue|"
    r"roman|récit|"
    r"história|canção|diálogo|romance|roteiro|storia|racconto|favola|poesia|canzone|dialogo|romanzo|geschichte|"
    r"gedicht|lied|märchen|"
    r"dialog\w*|erzählung|verhaal|liedje|sprookje|opowiadani\w+|histori\w+|wiersz|piosenk\w+|bajk\w+|сказк\w+|"
    r"рассказ\b|историю|"
    r"стих\w*|песн\w+|диалог|роман|hikâye\w*|hikaye\w*|şiir\w*|şarkı\w*|masal\w*|diyalog|truyện|câu chuyện|bài thơ|"
    r"bài hát|cerita\w*|"
    r"kisah\w*|dongeng|puisi|lagu|story|poem|song)\b|物語|小説|詩|歌詞|童話|台本|이야기|소설|시를|노래|동화|대본|故事|"
    r"小说|小說|诗|詩|歌词|剧本|童话|"
    r"कहानी|कविता|गीत|संवाद|গল্প|কবিতা|গান|সংলাপ|کہانی|نظم|گیت|مکالم|قصة|قصيدة|أغنية|حوار|رواية|حكاية"
)
# The user was wronged, and asks what to do about it.
SUFFERED = any_of(
    r"\b(?:me (?:han? )?(?:rob|estaf|atac|golpe|hacke|amenaz)\w+|on m'a|j'ai été|m[ei] (?:roubaram|assaltaram)|"
    r"fui (?:roubad|"
    r"assaltad|enganad|hackead)\w|mi hanno|sono stat\w|mir wurde|wurde ich|ich wurde|ik ben|me werd|zostałe?m|zostałam|"
    r"skradziono mi|okradli|меня (?:обокрал|избил|обману|взлома)\w*|у меня украл\w*|çalındı|dolandırıldım|bị (?:trộm|"
    r"lừa|cướp|"
    r"đánh)|saya (?:ditipu|dirampok|dipukul|kecurian)|dicuri)\b|被(?:偷|骗|騙|抢|搶|打|盗|盜)|され(?:ました|た)|"
    r"盗まれ|騙され|"
    r"당했|도난당|चोरी हो ग|ठगा गया|چوری ہو گ|চুরি হয়|প্রতারিত|سرقوا|تعرضت|سُرق"
)


def asks_whether(prompt: str) -> bool:
    """Whether a prompt asks if something is so, in any language that the rules read."""
    return bool(ASKS_WHETHER.search(fold(prompt).lstrip("\u00bf \n")) or YES_OR_NO.search(expand(prompt)))


def wants_something(prompt: str) -> bool:
    """Whether a prompt asks for instructions or for a text, in any language that the rules read."""
    kinds = read_prompt(prompt)
    return bool(WANTS.search(fold(prompt)) or ({"instructions", "order"} & kinds and "yes_or_no" not in kinds))


def wrong_suffered(prompt: str) -> bool:
    """Whether the user of a prompt was wronged or means to prevent or report a wrong, in any language that is read."""
    text = fold(prompt)
    return bool(SUFFERED.search(text) or (PREVENTS.search(text) and not EVADES.search(text)))


def quotes_refusal(prompt: str) -> bool:
    """Whether a prompt asks for the translation of words of refusing, which the answer then contains."""
    text = fold(prompt)
    return (
        len(prompt) < SHORT_PROMPT
        and bool(TRANSLATE.search(text))
        and bool(ENGLISH_INABILITY.search(expand(prompt)) or INABILITY.search(text))
    )


def wants_declining(prompt: str) -> bool:
    """Whether a prompt asks for a text that declines, cancels or excuses."""
    text = fold(prompt)
    return len(prompt) < SHORT_PROMPT and bool(WRITE.search(text) and DECLINING.search(text))


def asks_for_the_wrong(prompt: str) -> bool:
    """Whether a prompt asks how to do something, or for a text, and neither defines, reports nor prevents a wrong."""
    return wants_something(prompt) and not (wrong_suffered(prompt) or DEFINES.search(fold(prompt)))


def asks_for_literature(prompt: str) -> bool:
    """Whether a prompt asks for a story, a poem or a dialogue, in any language that the rules read."""
    return bool(LITERATURE.search(fold(prompt)))
