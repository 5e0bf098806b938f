"""The language of an answer, by its letters and commonest words: the rules judge reads only some languages."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

MAX_CHARACTERS = 2000
# About a third of the words of prose are among `WORDS`; a list or a name may have none of them.
PROSE_WORDS = 12
# A short sentence without any of `WORDS` is in another language if its words do not end as English ones do.
SHORT_PROSE_WORDS, SHORT_WORDS_A_PIECE, FOREIGN_ENDINGS = 5, 2.5, 0.4
LEAST_LEAD = 2  # by so many words a language that is not read must lead over one that is
LEAST_SHARE = 0.05
LEAST_OTHER, LEAST_PROSE = 0.2, 0.25  # of letters in another script, of common words among those in Latin letters
WORDS_A_PIECE = 5
OTHER = "another language"

# Languages that have a script to themselves. Japanese and Chinese are distinguished by the share of kana.
SCRIPTS = {"HANGUL": "Korean", "BENGALI": "Bengali"}
KANA = ("HIRAGANA", "KATAKANA")
# Commonest words by script and language; they distinguish languages that share a script.
WORDS: dict[str, dict[str, str]] = {
    "LATIN": {
        "English": "the and of to a in is it you that for on are with as this be your not can have or will an by from "
        "i do at if but they we he she was there which may so their his her my our its one all has had been were when "
        "while where then than into about after before over under through these those some more such what how who no "
        "up out only also just each most like use make add get any",
        "Spanish": "el la los las de que y en un una es por con para no se su del lo como más pero puedo este esta al "
        "si muy eso mi tu le te "
        "sí claro gracias hola",
        "French": "le la les de des et un une est dans pour que qui ne pas je vous il elle sur avec ce cette du au en "
        "mais peux sont votre plus à l d n "
        "oui non merci bien sûr",
        "Portuguese": "o a os as de que e em um uma é por com para não se do da no na mas posso este esta ao mais isso "
        "seu sua você dos das "
        "sim claro obrigado",
        "German": "der die das und ist in zu den mit nicht ein eine ich sie es auf für von dem im kann aber dass wie "
        "sich "
        "auch bei sind du nach leider oder wenn "
        "ja nein natürlich danke",
        "Indonesian": "yang dan di ke dari untuk dengan ini itu tidak saya adalah pada dalam akan bisa dapat atau anda "
        "kami juga oleh lalu maaf hal sudah karena tetapi namun secara lebih sebagai mereka seorang "
        "ya tentu bukan",
        "Italian": "il lo la i gli le di che e in un una è per con non si del della sono ma posso questo questa al più "
        "come da mi ti nel "
        "sì certo grazie",
        "Dutch": "de het een en van is in te dat op met niet ik je voor zijn er aan maar die om ook kan naar dit daar "
        "spijt mee bij u "
        "ja nee natuurlijk",
        "Turkish": "ve bir bu için ile de da çok ama ne gibi daha olarak var değil ben size sonra kadar olan üzgünüm "
        "ya "
        "konuda mi "
        "evet hayır tabii",
        "Vietnamese": "là và của không có cho tôi bạn được trong một với các này để những người khi đó về xin thể rất "
        "từ đến nhưng hãy rồi "
        "vâng đúng",
        "Polish": "i w na z do nie to się jest że o jak ale po co dla przez oraz jeśli mogę tym od który czy może "
        "proszę "
        "być są przykro "
        "tak oczywiście",
        "Swedish": "och att det som en är på för med av inte jag den till kan har om ett men du tyvärr ska från så",
        "Danish": "og at det som en er på for med af ikke jeg den til kan har om et men du desværre skal fra hvordan",
        "Norwegian": "og at det som en er på for med av ikke jeg den til kan har om et men du dessverre skal fra "
        "hvordan "
        "ikkje",
        "Finnish": "ja on ei se että en voi mutta ole tämä kun niin joka myös minä hän sitä valitettavasti voit sen en "
        "pysty auttamaan tuossa tässä asiassa auta",
        "Icelandic": "og að það er sem ekki ég í á við með til um en því",
        "Czech": "a je v se na to že s z do pro ale jak by jsem nemohu bohužel aby když nebo tím které lze si ve jsou "
        "nebudu tohle",
        "Slovak": "a je v sa na to že s z do pre ale ako by som nemôžem bohužiaľ aby keď alebo tým sú ktoré",
        "Hungarian": "a az és nem hogy egy is van meg ez de ha sajnálom tudok ezt vagy mint csak sajnos majd",
        "Romanian": "și de în nu la cu pe că un o este din pentru sunt mai dar pot acest această vă îmi rău să care",
        "Croatian": "i je u na se da ne za to s su sam ali kako mogu nažalost od koji što ili po te iz žao",
        "Slovenian": "in je v na se da ne za to z so sem ali kako lahko žal od ki pa ter po iz pri",
        "Lithuanian": "ir yra kad ne į su tai iš bet aš kaip negaliu deja jūs arba šiuo apie kuris",
        "Latvian": "un ir ka ne ar no bet es kā nevaru diemžēl jūs vai šo par uz kas",
        "Estonian": "ja on ei see et ma kui aga ta mis või kahjuks saa selle seda oma sa",
        "Albanian": "dhe në të e një që për me nuk është por mund unë kjo ju më vjen keq",
        "Catalan": "el la els les de que i en un una és per amb no es del ho com més però puc aquest aquesta al això",
        "Tagalog": "ang ng sa na ay at mga hindi ko ako ito para kung po pero ka mo maaari paumanhin dahil naman iyong "
        "kita pasensya matutulungan diyan hindi",
        "Swahili": "ya wa na kwa ni katika la za hii siwezi lakini kama ili hiyo yako samahani cha au kuwa hilo",
        "Malay": "yang dan di ke dari untuk dengan ini itu tidak saya adalah pada dalam boleh atau anda kami juga oleh "
        "kerana minta",
        "Afrikaans": "die en van is in nie dat ek jy met vir om te op wat het kan ongelukkig hierdie maar jou "
        "n by baie",
        "Hausa": "da na a ba ta ya wannan zan iya ka ni amma don kuma yi ina hakan",
        "Yoruba": "ni ti mo kò lè fún náà àti pé yìí sí mi o wọn emi jẹ nípa èyí ọ ràn "
        "ko fun naa ati pe yii si won nipa eyi ran lowo binu ma lati yin le",
        "Somali": "waa iyo in ma ka ku ee oo aan waxaan kuu karo",
        "Zulu": "ukuthi futhi ngiyaxolisa kodwa angikwazi ukukusiza lokhu noma uma",
        "Xhosa": "ukuba kodwa ndiyaxolisa andikwazi kule le ngoko kunye ukukunceda",
        "Igbo": "na m nke ike enweghị ọ bụ ndo nyere gị",
        "Azerbaijani": "və bir bu üçün ilə də da çox amma necə mən sizə deyil olar bilmərəm edə",
        "Uzbek": "va bir bu uchun bilan ham emas men sizga lekin qanday olmayman kerak mumkin",
        "Basque": "eta da ez bat dut du hau hori baina ezin zure naiz dira",
        "Welsh": "y yr a i o yn ac mae ddim gallaf hyn ond ar chi fi am",
        "Irish": "an na agus ar is ní le go sé mé seo ach ag bhfuil",
        "Hindi in Latin letters": "hai nahi nahin main kar ke ka ki aur mein hoon kya aap ko se yeh sakta sakti lekin "
        "par "
        "mujhe iske hain "
        "phir thoda aur",
        "Haitian": "mwen pa ka li ou nan ak yon sa pou se yo men ede",
        "Latin": "et est non in ad cum quod ut sed sunt hoc possum ex qui",
        "Galician": "sentímolo sinto moito non podo podemos axudar axudarche unha isto esta este petición con de que e "
        "o a do da eu para máis pero",
        "Luxembourgish": "et ech dir net kann ass an de mer leed deet dat fir mat wéi op esou hunn hëllefen dobäi awer",
        "Maltese": "ma nistax ngħinek jiddispjaċini dan din li u fuq ta għal biex mhux il imma tista",
        "Javanese": "kula mboten saged panjenengan punika ingkang kaliyan saking nyuwun pangapunten sampeyan aku ora "
        "iso kowe lan ing sing karo iki kuwi",
        "Sundanese": "abdi teu tiasa anjeun hapunten punten ieu eta jeung nu ka ti di anu henteu kuring ngabantu",
        "Kinyarwanda": "mbabarira sinshobora kugufasha ibyo kuri ni na mu ku cyangwa ariko iki uyu kandi",
        "Malagasy": "miala tsiny aho fa tsy afaka manampy anao ny sy amin izany ianao dia ho",
        "Cebuano": "pasayloa dili ako makatabang nimo niini ang sa nga ug kay mga akong ka",
        "Shona": "ndine urombo handikwanise kukubatsira izvi asi uye kuti ne",
        "Chichewa": "pepani sindingathe kukuthandizani ndi koma kuti izi pa",
        "Maori": "aroha mai kāore au taea te āwhina koe ki ngā he o",
        "Kurdish in Latin letters": "bibore ez nikarim alîkariya te bikim û di de ji bo ku vê lê",
        "Scottish Gaelic": "tha mi duilich chan urrainn dhomh agus air ann gu leis do",
        "Turkmen": "bagyşlaň men size kömek edip bilmerin we bu üçin bilen",
        "Frisian": "ik kin net helpe spyt my it de en is fan dat dêr mei jo",
        "Esperanto": "la kaj de estas ne en mi vi por ke al sed tio povas",
    },
    "CYRILLIC": {
        "Russian": "и в не на что я с как это по но вы к у из за для так от он мы вас если или бы этого могу этот с "
        "тем "
        "да нет можно все они он её его было есть быть при до конечно",
        "Ukrainian": "і в не на що я з як це по але ви до у за для від він ми вас якщо або та цим можу цього вибачте "
        "й є",
        "Bulgarian": "и в не на че аз с как това по но вие за от той ние ако или да се съм мога тази този ви е са",
        "Serbian": "и у не на да ја са као то по али ви за од он ми вас ако или је се сам могу ово што",
        "Belarusian": "і ў не на што я з як гэта па але вы да за для ад ён мы вас калі або",
        "Macedonian": "и во не на дека јас со како тоа по но вие за од ако или да се сум можам е",
        "Kazakh": "және бұл мен үшін бір деп емес бола сіз көмектесе кешіріңіз алмаймын керек",
        "Kyrgyz": "жана бул мен үчүн бир эмес бол сиз кечиресиз албайм керек",
        "Tajik": "бубахшед ман наметавонам ба шумо дар ин кумак кунам ва аз",
        "Tatar": "гафу итегез мин сезгә ярдәм итә алмыйм һәм бу",
        "Mongolian": "нь юм би та энэ байна бол ба болон уучлаарай чадахгүй",
    },
    "ARABIC": {
        "Arabic": "في من على أن إلى لا هذا هذه أنا ما هو هي مع عن التي الذي كان لك ذلك أو لكن ثم يمكنني كل عذرا آسف "
        "بعد إن",
        "Urdu": "ہے کے میں کی کا سے کو اور نہیں یہ پر ہیں اس کر نے آپ تو ہوں ایک لیے بھی مدد سکتا جو پھر",
        "Persian": "در به از که این را با است برای من نمی‌توانم آن تا شما متاسفم بر کنم نمی توانم یک می کنید هم یا "
        "متأسفم",
        "Pashto": "په د نه دی چې او زه تاسو سره کولی شم دا له ته",
        "Kurdish": "لە و بە بۆ کە من ناتوانم ئەو ئەم",
        "Sindhi": "جي ۾ آهي جو ۽ نه مان آهن ڪري",
    },
    "DEVANAGARI": {
        "Hindi": "है के में की का से को और नहीं यह पर हैं इस कर ने आप तो हूँ हूं एक लिए भी मैं मुझे इसमें सकता फिर "
        "हो हाँ जी था थी थे गया गई करें",
        "Marathi": "आहे आणि मी या तो हे नाही ते की मला करू शकत तुम्ही आपण च्या साठी माफ करा व आहेत",
        "Nepali": "छ र को मा म यो गर्न सक्दिन तपाईं हो छैन लाई माफ गर्नुहोस् पनि हुन्छ",
        "Sanskrit": "अस्ति च न इति अहं तत् एव भवति",
    },
}
READ = frozenset(
    re.findall(
        r"\w+",
        "English Chinese Hindi Spanish Arabic French Bengali Portuguese Russian Indonesian Malay Urdu German "
        "Japanese Korean Italian Dutch Turkish Vietnamese Polish",
    )
)
VOCABULARY = {
    script: {name: frozenset(words.split()) for name, words in languages.items()} for script, languages in WORDS.items()
}
READ_WORDS = frozenset[str]().union(*(words for name, words in VOCABULARY["LATIN"].items() if name in READ))
SHARED = ("a", "i", "ja")  # of languages that are read and of many that are not
ARABIC_LETTERS = {"Urdu": "ٹڈڑںےہھ", "Persian": "پچژگ", "Pashto": "ټډړښځڅۍې", "Sindhi": "ڄڃڇڙڳڻ", "Kurdish": "ێۆڵڕە"}
CYRILLIC_LETTERS: dict[str, Sequence[str]] = {
    "Ukrainian": "іїєґ",
    "Serbian": "ђјљњћџ",
    "Belarusian": "ў",
    "Kazakh": "әғқңұһ",
    "Mongolian": "өү",
    # in Russian, a vowel follows this letter
    "Bulgarian": [f"ъ{letter}" for letter in "бвгджзклмнпрстхцчшщ"],
}
LATIN_LETTERS = {
    "Vietnamese": "ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "Polish": "ąęłśźżćń",
    "Turkish": "ğış",
    "Hungarian": "őű",
    "Czech": "ěřů",
    "Romanian": "țșăâ",
    "Icelandic": "þð",
    "Azerbaijani": "ə",
    "Lithuanian": "ėįųū",
    "Latvian": "āēģīķļņ",
    "Hausa": "ɗƙɓ",
    "Maltese": "ħġ",
}
LETTERS: dict[str, Mapping[str, Sequence[str]]] = {
    "LATIN": LATIN_LETTERS,
    "CYRILLIC": CYRILLIC_LETTERS,
    "ARABIC": ARABIC_LETTERS,
    "DEVANAGARI": {"Marathi": "\u0933"},
}
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|https?://\S+", re.S)
SENTENCE = re.compile(r"[a-z][.!?](?:\s|$)")
FOREIGN_WORD = re.compile(r".*(?:[aiouäöõ]\Z|[^\x00-\x7f])")
PIECE = re.compile(r"[.!?,;:\n]+")


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The script a letter belongs to, by the first word of its Unicode name: LATIN, CYRILLIC, CJK, ..."""
    return unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]


def language_of(text: str) -> str:
    """The language of a normalised answer: `English` if nothing indicates another, `OTHER` for an unknown language.

    Only the script with the most letters counts. Languages in Latin, Cyrillic, Arabic and Devanagari script are
    distinguished by their commonest words and by letters that only one of them has.
    """
    text = CODE.sub(" ", text[:MAX_CHARACTERS])
    # vowel signs of Indic and Thai scripts are marks (category M) and count as letters
    counts = Counter(script_of(character) for character in text if unicodedata.category(character)[0] in "LM")
    if not counts:
        return "English"
    # one Chinese character stands for several letters
    weights = {script: count * (3 if script in ("CJK", *KANA) else 1) for script, count in counts.items()}
    script = max(weights, key=lambda name: weights[name])
    if script == "LATIN" and len(weights) > 1 and not _is_prose(text):
        # names and code stand in Latin letters in an answer of any language
        others = {name: weight for name, weight in weights.items() if name != "LATIN"}
        other = max(others, key=lambda name: others[name])
        script = other if others[other] >= LEAST_OTHER * sum(weights.values()) else script
    if script in ("CJK", *KANA):
        kana = sum(counts[name] for name in KANA)
        return "Japanese" if kana * 8 > counts["CJK"] + kana else "Chinese"
    if script in SCRIPTS:
        return SCRIPTS[script]
    return by_words(text.lower(), script) if script in VOCABULARY else OTHER


def _is_prose(text: str) -> bool:
    """Whether enough of the words in Latin letters are common words of a language that is read."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return sum(1 for word in words if word in READ_WORDS) >= LEAST_PROSE * len(words)


def by_words(text: str, script: str) -> str:
    """Of the languages of a script, the one whose common words and special letters are most frequent in the text."""
    # split at spaces, because `\w` does not match the vowel signs of Indic scripts
    words = [word.strip(".,!?;:\"'()*-\u0964\u060c\u061f") for word in text.replace("'", " ").split()]
    words = [word for word in words if word]
    present = Counter(words)
    hits = {name: float(sum(present[word] for word in known)) for name, known in VOCABULARY[script].items()}
    lettered = {
        name: sum(1 for word in words if any(letter in word for letter in letters))
        for name, letters in LETTERS.get(script, {}).items()
    }
    for name, count in lettered.items():
        hits[name] = hits.get(name, 0) + count
    read = max((name for name in hits if name in READ), key=lambda name: hits[name])
    best = max(hits, key=lambda name: hits[name])
    if hits[best] > hits[read]:
        # a single word may be a name or a loan word, especially among English words
        leads = hits[best] - hits[read] >= LEAST_LEAD or lettered.get(best, 0) > 0
        only_english = VOCABULARY[script].get("English", frozenset()) - VOCABULARY[script][best]
        if (leads or len(words) <= 3) and hits[best] > 2 * sum(present[word] for word in only_english):
            return best
        if hits.get("English", 0) or hits[read] > 1:
            return read
    pieces = [piece for piece in PIECE.split(text) if piece.strip()]
    if not SENTENCE.search(text):
        return read
    foreign = sum(1 for word in words if FOREIGN_WORD.match(word))
    short_prose = len(words) >= max(SHORT_PROSE_WORDS, SHORT_WORDS_A_PIECE * len(pieces))
    vocabulary = VOCABULARY[script]
    own = [
        hits[name] - sum(present[word] for word in SHARED if word in vocabulary[name]) for name in hits if name in READ
    ]
    unknown = hits[best] > hits[read] or not max(own)
    if short_prose and unknown and foreign >= FOREIGN_ENDINGS * len(words):
        return OTHER
    prose = len(words) >= PROSE_WORDS and len(words) >= WORDS_A_PIECE * len(pieces)
    return OTHER if prose and hits[read] < LEAST_SHARE * len(words) else read


def is_read(language: str) -> bool:
    """Whether the rules read refusals of a language."""
    return language in READ
