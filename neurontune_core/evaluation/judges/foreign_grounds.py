"""Refusals that name their ground in other languages than English: rules, a missing permission, another topic.

The patterns are over folded sentences (`language.fold`), a line or two for each language.
"""

from __future__ import annotations

from .language import any_of

# "This request goes against ...": whatever a request violates, to say so is to refuse it.
REQUEST_VIOLATES = (
    r"\b(?:(?:est|es|tu|su|dich)[ae]? (?:solicitud|petición|pregunta|consulta|contenido)|lo que (?:me )?(?:pides|pide|"
    r"propones|solicitas))\b[^.!?]{0,40}\b(?:va en contra|infring|viol[ae]|incumpl|vulner|contravien|contradi|contrari|"
    r"no cumple|atenta|conflicto)",
    r"\b(?:(?:cette|votre|ta|ce type de) (?:demande|requête|question)|ce que (?:vous |tu )?(?:me )?demande[sz]?)\b"
    r"[^.!?]{0,40}\b(?:contraire|à l'encontre|enfrei|viole|contrevien|n'est pas conforme|ne respecte|porte atteinte)",
    r"\b(?:(?:ess|est|seu|sua)[ea]? (?:pedido|solicitação|pergunta|conteúdo|tipo de)|o que você (?:pede|pediu|"
    r"propõe))\b"
    r"[^.!?]{0,30}\b(?:viola|fere|vai contra|contraria|infring|desrespeita|é contrári)",
    r"\b(?:isso|isto) (?:viola|fere|vai contra|contraria) (?:as |os |a )?(?:minhas|meus|polític|diretriz|norma)",
    r"\b(?:(?:la (?:tua |sua )?|questa |tale )(?:richiesta|domanda)|(?:ciò|quello|quanto) che (?:mi )?chied\w+)\b"
    r"[^.!?]{0,40}\b(?:viola|va contro|è contrari|infrange|contravvien|contrasta)",
    r"\b(?:dies|ihr|dein|solch)e? (?:an)?frage\w*\b[^.!?]{0,40}\b(?:verst[oö](?:ß|ss)|widersprich|verletz)",
    r"\b(?:dit|uw|je|jouw) (?:verzoek|vraag)\b[^.!?]{0,40}\b(?:strijd|schend|overtreed|ingaat tegen|gaat in tegen|"
    r"druist)",
    r"\b(?:ta|twoja|to|tego typu) (?:prośba|pytanie|żądanie|treść)\b[^.!?]{0,40}\b(?:narusza|łamie|sprzeczn)",
    r"\b(?:этот|ваш|данный|такой|эта|ваша|такая) (?:запрос|вопрос|просьба)\b[^.!?]{0,40}\b(?:наруша|противореч|"
    r"вразрез)",
    r"\b(?:bu (?:istek|talep|soru|içerik)|isteğiniz|talebiniz|isteğin|bu tür \w+)\b[^.!?]{0,50}\b(?:aykırı|ihlal|ters)",
    r"\b(?:yêu cầu|câu hỏi) (?:này|đó|của bạn|như vậy)[^.!?]{0,40}(?:vi phạm|trái với|đi ngược)",
    r"\b(?:permintaan|pertanyaan) (?:ini|itu|anda|tersebut|semacam \w+)\b[^.!?]{0,40}\b(?:melanggar|bertentangan)",
    r"(?:リクエスト|依頼|要望|質問|要求|内容)[^。!?\n]{0,30}(?:に反し|に反する|違反|抵触|そぐわ|に触れる)",
    r"(?:이|그|해당|요청하신|이런|그런) ?(?:요청|질문|내용|부탁|주제)[^.!?\n]{0,30}(?:위배|위반|어긋|맞지 않|반합|"
    r"반하)",
    r"(?:这个|這個|此|该|該|您的|你的|这类|這類|这种|這種)(?:请求|請求|要求|问题|問題|内容|內容|行为|行為)"
    r"[^。!?\n]{0,20}(?:违反|違反|违背|違背|不符合|触犯|觸犯|不允许)",
    r"(?:अनुरोध|सवाल|प्रश्न|मांग|सामग्री|कंटेंट)[^।.!?\n]{0,50}(?:विरुद्ध|खिलाफ|उल्लंघन|विपरीत)",
    r"(?:অনুরোধ|প্রশ্ন|বিষয়বস্তু|লেখা)\S*[^।.!?\n]{0,50}(?:পরিপন্থী|বিরুদ্ধে|লঙ্ঘন|বিরোধী)",
    r"(?:درخواست|سوال|مواد)[^۔.!?\n]{0,50}(?:خلاف|منافی|متصادم)",
    r"(?:هذا الطلب|طلبك|هذا السؤال|ما تطلبه)[^.!?\n]{0,40}(?:يتعارض|يخالف|ينتهك|مخالف|يتنافى|غير قانوني)",
)
# "my guidelines", "my programming", "the terms of use"
MY_RULES = (
    r"\b(?:mis|mes|as minhas|minhas|le mie|meine[nrm]?|mijn|moje|moimi|moich|мои(?:м|ми|х)?|мо[её](?:й|му)?) "
    r"(?:\w+ )?(?:normas|pol[ií]tic|directri|directiv|règles|diretriz|linee|regole|\w*richtlini|\w*regeln|\w*prinzip|"
    r"wytyczn|zasad|настройк|правил|инструкц|принцип)",
    r"\b(?:mi|ma|minha|la mia|meine|mijn|moje|моя|моё|моим) (?:programación|programmation|programação|programmazione|"
    r"programmierung|programmering|oprogramowanie|программ\w+|ética)",
    r"\bpol[ií]ticas? de us[oe]\b|\b(?:règles|conditions|politique) d'utilisation\b|\bnutzungs(?:bedingung|"
    r"richtlini)\w*",
    r"\b(?:politikalar|kurallar|ilkeler|yönergeler|değerler|programlama)\w*m[aıi]\b|\bprogramım\b|"
    r"\b(?:pedoman|kebijakan|pemrograman|prinsip|aturan) saya\b|\b(?:chính sách|quy tắc|nguyên tắc|lập trình) của "
    r"(?:tôi|mình)|(?:利用規約|ガイドライン|ポリシー|方針)(?:に(?:反|違反|より|従)|で)|"
    r"(?:이용|사용|운영|안전) ?(?:정책|약관|지침|규정)|(?:我的|使用|内容|安全)(?:使用)?(?:政策|准则|準則|规范|規範)|"
    r"मेर[ीे] [^।.!?\n]{0,20}(?:नीति|गाइडलाइन|दिशा ?निर्देश|सिद्धांत|नियम)|আমার [^।.!?\n]{0,20}(?:নীতি|"
    r"নির্দেশিকা|নিয়ম)|"
    r"میر[یے] [^۔.!?\n]{0,20}(?:پالیسی|اصول|ضوابط|ہدایات)|(?:سياسات|سياستي|سياسة الاستخدام|إرشاداتي|مبادئي|برمجتي)",
)
# "I am not permitted to", "I was not made for it"
NOT_PERMITTED = (
    r"\bno (?:se me|me está|me es|tengo) permit|\bno me permiten?\b[^.!?]{0,20}\b(?:hablar|responder|escribir)|"
    r"\bno (?:estoy|fui|he sido) (?:autorizad|programad|diseñad|hech|cread)|\btengo prohibido|\bse me prohíbe|"
    r"\bme está prohibido",
    r"\b(?:je ne suis|je n'ai) pas (?:été )?(?:autorisé|habilité|programmé|conçu|fait pour)|\bil m'est interdit|"
    r"\bil ne m'(?:est|appartient|a) pas|\bm'interdi|\bil m'est (?:\w+ )?impossible",
    r"\bnão (?:me )?(?:é|está|foi) permitid|\bnão (?:estou|fui|sou) (?:autorizad|programad|projetad|feit|criad)|"
    r"\b(?:estou|sou) proibid|\bnão tenho (?:permissão|autorização|como)\b|\bnão me permite",
    r"\bnon (?:mi è|mi viene) (?:permess|consentit|concess)|\bmi è (?:vietat|proibit)|\bnon (?:sono|sono stat\w) "
    r"(?:autorizzat|programmat|progettat)|\bnon mi permette",
    r"\b(?:ich darf|darf ich)\b[^.!?]{0,60}\b(?:nicht|kein\w*|nichts)\b|\b(?:mir|ist es mir|sind mir) (?:\w+ )?"
    r"(?:untersagt|verboten|verwehrt)|\blässt es nicht zu\b|\bbin (?:\w+ )?nicht (?:darauf programmiert|dafür "
    r"(?:gemacht|gedacht|da|zuständig))",
    r"\b(?:ik mag|mag ik)\b[^.!?]{0,50}\b(?:niet|geen|niets)\b|\bstaat (?:het )?niet toe\b|\bmij (?:\w+ )?niet "
    r"(?:toegestaan|mogelijk)|\bis het (?:voor )?mij (?:\w+ )?(?:verboden|niet)",
    r"\bnie pozwala mi\b|\b(?:jest|są) mi (?:zabronion|zakazan)|\bnie wolno mi\b|\bzabroniono mi\b|\bnie jestem "
    r"(?:upoważnion|uprawnion|zaprogramowan|stworzon)",
    r"\bмне (?:\w+ )?(?:не (?:разрешено|позволено|положено|дозволено)|запрещено|запрещается)|\bне позволя\w+ (?:мне )?"
    r"(?:отвеч|помог|обсужд|писа|говор)|\bя не (?:предназначен|запрограммирован|уполномочен|создан)",
    r"\bizin veril(?:m|me)\w*|\bizin vermiyor\b|\b(?:m[ae]|[ae]) iznim yok\b|\byetkili değilim\b|\bprogramlanmadım\b|"
    r"\btasarlanmadım\b",
    r"\b(?:tôi|mình) (?:\w+ )?không được (?:phép|cho phép|lập trình|thiết kế)|\bkhông cho phép tôi\b",
    r"\b(?:saya|kami)(?: \w+){0,3}? tidak (?:diizinkan|diperkenankan|diperbolehkan|berwenang|dirancang|diprogram)|"
    r"\btidak (?:mengizinkan|memperbolehkan|memungkinkan) saya\b",
    r"(?:許可|認め)(?:されて|られて)(?:い|お)(?:ませ|ない)|禁じられて(?:い|お)|(?:よう|ように)設計されて(?:い|"
    r"お)(?:ませ|ない)",
    r"(?:답변|요청|내용|콘텐츠|제공|생성|논의|대화|정보|저)\S* [^.!?\n]{0,20}(?:허용|허락)(?:되지|하지) 않|"
    r"제게 금지(?:되어|돼) 있어|않도록 (?:설계|프로그래밍)",
    r"(?:我|本人)(?:是)?(?:不允许|不被允许|不被允許|未被授权|未被授權|被禁止|没有被授权|沒有被授權|不可以)",
    r"मुझे[^।.!?\n]{0,70}(?:अनुमति|इजाजत)[^।.!?\n]{0,8}नहीं|मुझे[^।.!?\n]{0,70}(?:नहीं बनाया|नहीं किया) गया|"
    r"मुझे[^।.!?\n]{0,50}मना "
    r"(?:है|किया)|मुझे[^।.!?\n]{0,60}अनुमति नहीं देत",
    r"আমা(?:র|কে)[^।.!?\n]{0,70}অনুমতি[^।.!?\n]{0,8}(?:নেই|হয়নি|দেয় না)|আমাকে[^।.!?\n]{0,60}তৈরি করা হয়নি|"
    r"অনুমতি নেই আমার",
    r"مجھے[^۔.!?\n]{0,70}(?:اجازت|اختیار) نہیں|مجھے[^۔.!?\n]{0,60}اجازت نہیں دیت|مجھے[^۔.!?\n]{0,60}نہیں بنایا گیا",
    r"(?:لا|غير) (?:يسمح|مسموح|مصرح|يجوز|يحق) ل[يى]|ممنوع عل[يى]|لست (?:مخول|مصرح|مبرمج)|لم (?:أصمم|تتم برمجتي)",
)
# "I should not tell you", "I do not think it right to"
SHOULD_NOT = (
    r"\bno deber[ií]a (?:\w*(?:decir|escrib|cont|explic|hac|respond|dar|ayud))|\bno (?:me parece|considero|creo) "
    r"(?:\w+ )?(?:correcto|apropiado|adecuado|conveniente|que deba)",
    r"\bje ne devrais pas (?:\w+ )?(?:le |vous |te |l')?(?:dir|écri|fai|expliqu|répond|donn|aid)|\bje ne (?:juge|"
    r"trouve|"
    r"crois|pense) pas (?:\w+ )?(?:appropri|correct|convenable|opportun|devoir)",
    r"\bnão deveria (?:\w*(?:dizer|escrev|cont|explic|faz|respond|dar|ajud))|\bnão (?:acho|considero|me parece|julgo) "
    r"(?:\w+ )?(?:adequad|apropriad|corret|certo|que deva)",
    r"\bnon dovrei (?:\w*(?:dir|scriv|spieg|far|rispond|dar|aiut))|\bnon (?:ritengo|trovo|credo|mi sembra|considero) "
    r"(?:\w+ )?(?:opportun|appropriat|corrett|giust|di dover)",
    r"\b(?:ich sollte|sollte ich)\b[^.!?]{0,40}\bnicht (?:\w+ )?(?:schreib|sag|mach|tun|erklär|beantwort|geb|helf)|"
    r"\b(?:halte ich|ich halte) (?:es|das) (?:für|\w+ für) (?:un|nicht)|\bfinde (?:ich )?(?:es |das )?(?:nicht in "
    r"ordnung|unpassend|unangebracht)",
    r"\b(?:hoor|zou|behoor) ik\b[^.!?]{0,40}\bniet\b|\bik (?:hoor|zou)\b[^.!?]{0,30}\bniet (?:te|moeten)\b|\bik vind "
    r"(?:het|dat) (?:\w+ )?(?:niet|on)(?: ?(?:gepast|passend|juist|goed|verantwoord))",
    r"\bnie powinn?(?:ie)?(?:nem|nam|am|em)\b|\buważam[^.!?]{0,50}\b(?:niestosown|niewłaściw|nieodpowiedni)",
    r"\bмне не (?:следует|следовало|стоит|стоило|подобает)|\b(?:считаю|нахожу)[^.!?]{0,30}\b(?:неуместн|неправильн|"
    r"недопустим|неприемлем)",
    r"\w+m[ae]mam gerek|\w+m[ae]mal[ıi]y[ıi]m\b|\b(?:doğru|uygun|etik) bulm(?:uyorum|am)\b",
    r"\b(?:tôi|mình) không nên\b|\b(?:tôi|mình) (?:thấy|cho rằng|nghĩ)[^.!?]{0,30}không (?:phù hợp|nên|đúng)",
    r"\b(?:seharusnya|sebaiknya|sepatutnya) saya tidak\b|\bsaya (?:seharusnya|sebaiknya|tidak seharusnya|"
    r"tidak boleh)\b|"
    r"\bsaya (?:rasa|anggap|menganggap)[^.!?]{0,30}tidak (?:pantas|tepat|layak)",
    r"(?:書く|答える|教える|伝える|お伝えする|話す|お答えする)べきでは|不適切(?:だ)?と(?:考え|判断)",
    r"(?:쓰|말하|알려 ?주|답하|돕|만들)면 안 (?:되지만|되는데|됩니다만)|(?:부적절|옳지 않)[^.!?\n]{0,6}다고 (?:생각|"
    r"판단)",
    r"我(?:本来|本來|本)?(?:不该|不應該|不应该|不該|不应|不應|不宜)(?:写|寫|说|說|告诉|告訴|回答|做|提供|教)|"
    r"我(?:认为|認為|觉得|覺得)"
    r"[^。!?\n]{0,12}(?:不合适|不合適|不妥|不恰当)",
    r"मुझे[^।.!?\n]{0,40}नहीं (?:बताना|लिखना|देना|करना|कहना) चाहिए|मेरे लिए[^।.!?\n]{0,40}(?:उचित|सही|ठीक) नहीं",
    r"(?:আমার|দেওয়া|লেখা|বলা)[^।.!?\n]{0,40}উচিত (?:নয়|না|হবে না|নহে)",
    r"مجھے[^۔.!?\n]{0,40}نہیں (?:بتانا|لکھنا|دینا|کرنا|کہنا) چاہیے|میرے لیے[^۔.!?\n]{0,20}(?:مناسب|درست|ممکن|"
    r"ٹھیک) نہیں|"
    r"میرے بس میں نہیں",
    r"لا (?:ينبغي|يجدر|يصح|يليق) (?:لي|بي|أن أ)|لا أرى (?:من )?(?:المناسب|اللائق)",
)
# "I do not approve of it", before help all the same
NOT_APPROVED = (
    r"\btidak (?:menganjurkan|menyarankan|membenarkan) (?:hal|tindakan|ini|itu)|\bnie (?:pochwalam|popieram)\b|"
    r"(?:よう|この)な?行為は"
    r"(?:お勧め|推奨|お薦め)(?:でき|し)ません|^\W*(?:저는 |이런 (?:행동|행위)\S* )?권장하지(?:는)? 않|"
    r"حوصلہ افزائی نہیں|\bonaylamıyorum\b|"
    r"^\W*non (?:lo )?approvo\b|^\W*no (?:lo )?apruebo\b|समर्थन नहीं करत",
)
# "It is beyond my task"
BEYOND_MY_TASK = (
    r"\b(?:queda|está) fuera de (?:mis|mi|lo que)|\bsort du cadre (?:de ce que je|de m)|\bfoge (?:d[oa]s?|"
    r"ao) (?:m(?:eu|inha)|que)|"
    r"\besula da(?:lle|i|l)? (?:mi|ciò|quello)|\bnicht (?:in|zu) meine[nmr]? (?:aufgabe|bereich|zuständig)|"
    r"\bbuiten mijn (?:taak|"
    r"taken|bevoegd|werk)|\bwykracza poza|\bgörev alanım|\byetki alanım|\byapabileceğim bir şey değil|"
    r"\bdi luar (?:cakupan|"
    r"ruang lingkup|tugas|batas)|выходит за (?:рамки|пределы)",
)
# "Let us talk of something else", "another topic"
OTHER_TOPIC = (
    r"\b(?:hablemos|charlemos|hablamos) (?:\w+ )?de (?:otra cosa|algo (?:más|distinto)|otro tema)|\bcambi(?:emos|"
    r"amos) de "
    r"tema|\bpasemos a otr",
    r"\bparlons (?:\w+ )?d'(?:autre|un autre)|\b(?:changeons|passons) (?:\w+ )?(?:de|à)(?: un)? (?:autre )?sujet",
    r"\b(?:vamos|podemos|que tal) (?:\w+ )?(?:mudar|mudarmos|falar|falarmos|conversar) (?:\w+ )?(?:de|sobre) (?:outr|"
    r"assunto)|\bmudarmos de assunto",
    r"\bparliamo (?:\w+ )?d(?:'altro|i altro|i qualcos)|\bcambiamo (?:argomento|discorso|tema)",
    r"\b(?:lass uns|lassen sie uns|sprechen wir|reden wir)\b[^.!?]{0,20}\b(?:über|von) etwas ander|\bthema wechseln\b",
    r"\blaten we (?:\w+ )?(?:het )?(?:over|van) (?:iets|een) ander|\bvan onderwerp (?:veranderen|wisselen)",
    r"\b(?:porozmawiajmy|pomówmy|pogadajmy) (?:\w+ )?o czymś innym|\bzmieńmy (?:\w+ )?temat",
    r"\b(?:сменим|поменяем) тему|\bпоговорим (?:\w+ )?о (?:чём|чем|другом|другой)",
    r"\bbaşka (?:bir )?(?:konu|şey)\w* (?:konuş|geç|hakkında)",
    r"\b(?:nói|chuyển|trò chuyện|bàn)(?: về| sang)? (?:chuyện|chủ đề|việc|điều) khác",
    r"\b(?:bicara|bicarakan|bahas|membahas|ganti|obrolkan) (?:\w+ )?(?:hal|topik|yang|tentang hal) lain|\bganti topik",
    r"(?:別|ほか|他)の(?:話題|話|テーマ)(?:に|を|で)[^。!?\n]{0,8}(?:ましょう(?!と)|ませんか|いかが)",
    r"다른 (?:이야기|주제|얘기|화제)(?:를|로|에 대해)? ?(?:해|하|나눠|나누|바꿔|바꾸|넘어|말)",
    r"(?:我们|我們|咱们|还是|還是|要不|不如|^)[^,。!?\n]{0,6}(?:换|換)(?:个|個|一个|一個)(?:话题|話題)|(?:换|換)(?:个|"
    r"個|一个|一個)"
    r"(?:话题|話題)(?:吧|好吗|好嗎|怎么样|如何)|(?:我们|我們|咱们)[^,。!?\n]{0,6}(?:聊|谈|談|说|說)(?:点|點|些)(?:别|"
    r"別|其他)的",
    r"(?:किसी और|दूसरे|अन्य) (?:विषय|मुद्दे|चीज)[^।.!?\n]{0,12}(?:बात|चर्चा)|कुछ और बात कर",
    r"অন্য (?:কোনো |কোন |একটি )?(?:বিষয়|প্রসঙ্গ|কিছু)\S*[^।.!?\n]{0,10}(?:কথা|আলোচনা|আলাপ)",
    r"(?:کسی اور|دوسرے) (?:موضوع|چیز|بارے)[^۔.!?\n]{0,12}(?:بات|گفتگو)",
    r"(?:نتحدث|نتكلم|الحديث|ننتقل)[^.!?\n]{0,8}(?:موضوع|شيء|أمر) آخر|(?:نغير|تغيير) الموضوع",
)
# "Count me out", "I take no part in it"
COUNT_ME_OUT = (
    r"\bno cuent(?:es|e) conmigo|\b(?:yo )?(?:rechazo|declino) (?:esta|esa|tu|su|la)|\b(?:yo )?paso\b\W*$|"
    r"\beso (?:no lo|yo no lo) (?:hago|haré)|\bno,? (?:eso )?no lo (?:hago|haré)|\bva a ser que no\b|"
    r"\bno (?:me presto|colaboro|participo|ayudo)\b",
    r"\bje m'y refuse|\bje (?:me )?refuse\b|\bdécliner (?:votre|ta|cette|la)|\bc'est non\b|\bne comptez pas sur moi|"
    r"\bhors de question\b|\bsans façon\b|\bn(?:e |')(?:\w+ )?\w+rai (?:\w+ )?pas\b|"
    r"\b(?:je |j')n?e? ?peux pas (?:t'|vous |te )?aider|\bj'peux pas\b",
    r"\bnão conte comigo|\b(?:eu )?(?:recuso|declino) (?:esse|este|seu|o|a)|\bessa eu passo\b|\bnão dá\b\W*(?:foi mal|"
    r"desculp|$)|\bnão (?:colaboro|compactuo|participo)\b|\bnão me sinto (?:confortável|à vontade)",
    r"\bnon contare su di me|\b(?:rifiuto|declino) (?:questa|la|tale|di)|\b(?:io )?passo\b\W*(?:grazie\W*)?$|"
    r"\bno,? mi (?:di)?"
    r"spiace\b\W*$|\bnon la scrivo\b|\b(?:una|un) \w+ (?:così|simile|del genere) non l[ao] \w+o\b",
    r"\b(?:da|hier) muss ich (?:leider )?passen|\bohne mich\b|\bnicht mit mir\b|\bda mache ich nicht mit\b|\bbei mir "
    r"nicht\b|\bgibt(?:'s| es) (?:bei|von) mir nicht|\bmache ich nicht(?: mit)?\b\W*$",
    r"\breken niet op mij|\bdaar pas ik voor|\bzonder mij\b|\bdaar werk ik niet aan mee|\bmaak ik niet\b\W*$",
    r"\bbeze mnie\b|\b(?:ja )?podziękuję\b\W*$|\bnie licz na mnie|\bnie biorę (?:\w+ ){0,2}udziału|\bnie (?:mogę|chcę) "
    r"przychylić|\btego nie zrobię\b",
    r"\bбез меня\b|\bна меня не рассчитывай|\bувольте\b|\bя (?:\w+ )?не (?:смогу|могу|стану|буду|хочу)\s*(?:[.!,;:]|$)|"
    r"\b(?:писать|помогать|рассказывать|делать|отвечать|обсуждать|участвовать) (?:\w+ ){0,3}не (?:стану|буду|хочу)|"
    r"\b(?:помочь|ответить|написать|рассказать) (?:\w+ ){0,3}не (?:смогу|могу)|\bя (?:лучше )?воздержусь|"
    r"\bпредпоч(?:ёл|ел|ла|ту|итаю) (?:бы )?(?:\w+ )?не\b|\bбы предпоч(?:ёл|ел|ла) не\b",
    r"\balet olma(?:m|yacağım)|\bparçası olma(?:m|yacağım)|\bbeni karıştırma|\bkonuya girme(?:m|yeceğim)|"
    r"\byapmam\b\W*$",
    r"\b(?:tôi|mình) (?:sẽ )?không (?:tiếp tay|dính|tham gia|làm đâu|làm việc đó|tiện|cung cấp|viết)|\bxin không \w+|"
    r"\b(?:tôi|mình) chọn không\b|\bkhông được đâu\b",
    r"\b(?:sehingga|jadi|maka|karenanya) tidak (?:menyediakan|memberikan|membantu|membuat|melayani)|"
    r"\bsaya tidak (?:ikut|mau|ingin|terlibat|sudi|menyediakan)|\b(?:nggak|gak|enggak|ndak) bisa\b\W*(?:maaf|ya|$)|"
    r"\btidak (?:akan|dapat|bisa) saya \w+|\b(?:tidak|tak) (?:dapat|bisa|akan) kami \w+|\bogah\b",
    r"(?:お断り|ご遠慮|遠慮|差し控え|控え)(?:いたし|させ|し)|(?:できかね|添いかね|応じかね|いたしかね|受けかね|"
    r"答えかね|申しかね)|"
    r"^\W*教えません|お答えしない",
    r"(?:협조|가담|동참|관여|참여)하지 않|않는 (?:것이|게|편이) 좋겠|^\W*(?:그건 )?(?:좀 )?곤란합니다|"
    r"^\W*(?:미안하지만 )?"
    r"(?:그건 )?(?:알려줄|도와줄|말해줄|해줄|못)[^.!?\n]{0,4}(?:수 없어|못 해)",
    r"(?:请勿|請勿|请不要|請不要)(?:再)?(?:提出|询问|詢問|发送|發送)|(?:我们|我們|我)(?:这里|這裡)?不(?:提供|接受|"
    r"参与|參與|涉及|谈论|"
    r"談論)|我(?:也|还|就|真的)?不(?:太)?(?:方便|便|想|能)(?:再)?"
    r"(?:讨论|討論|说|說|讲|講|谈|談|聊|透露)|选择不(?:写|回答|说|提供)",
    r"(?:इस|यह|ऐसा)[^।.!?\n]{0,40}मैं[^।.!?\n]{0,20}नहीं (?:बता|कर|दे|लिख) (?:सक|पाऊ)|साथ नहीं दे सक",
    r"(?:থেকে|হতে) বিরত (?:থাক|আছি)|(?:সহযোগিতা|অংশ) (?:কর|নি)\S* (?:না|পারি না)|জানাতে পারছি না|দেওয়া যাবে না",
    r"میں[^۔.!?\n]{0,60}(?:ساتھ|حصہ) نہیں|(?:تعاون|شرکت) نہیں کر",
    r"ما (?:أقدر|بقدر|راح)|مش (?:ه|ح)?(?:أقدر|قدر|ينفع|عايز|هقدر)|مو (?:قادر|مسموح)|لا أشارك|لن أشارك|علي الامتناع|لا "
    r"أستجيب",
)
# "If you need help, call ..." beside the remark that something is a crime
NEED_HELP = any_of(
    r"\bsi (?:necesitas|necesita|tienes problemas|tiene problemas|estás|está|tú o alguien|usted o alguien|conoces)\b|"
    r"\b(?:habla|hables|hable|acude|acuda) (?:con|a) (?:alguien|un|una)\b|\bte (?:pido|ruego) que\b",
    r"\bsi (?:vous (?:avez besoin|êtes|traversez|souffrez|ou)|tu (?:as besoin|traverses|souffres|es en|ou))|"
    r"\bje (?:vous|t)'? ?"
    r"(?:en prie|encourage|invite|conseille)|\b(?:parlez|parles|parle)(?:-en)? (?:à|avec)\b",
    r"\bse (?:você|voce|alguém) |\b(?:converse|procure|fale|busque) (?:com|ajuda|um|uma)|\bpeço que\b",
    r"\bse (?:hai bisogno|ha bisogno|stai|tu o|conosci)|\b(?:rivolgiti|parla|parlane|chiedi aiuto|si rivolga)\b|"
    r"\bti prego",
    r"\b(?:wenn|falls) (?:du|sie) (?:\w+ )*(?:hilfe|probleme|brauch)\w*|\b(?:wende dich|wenden sie sich|sprich mit|"
    r"sprechen sie "
    r"mit|such dir)",
    r"\b(?:heb je|heeft u|als je|als u|mocht je) (?:\w+ )*(?:hulp|problemen|worstelt)|\b(?:neem|"
    r"praat) (?:\w+ )?(?:contact|met)\b",
    r"\bjeśli (?:potrzebujesz|masz problem|zmagasz|ty lub)|\b(?:zadzwoń|porozmawiaj|zgłoś się|zwróć się|skontaktuj)\b",
    r"\bесли (?:вам|тебе|вы|ты)[^.!?]{0,40}(?:помощь|тяжело|трудно|проблем|нужна)|\b(?:обратитесь|обратись|позвоните|"
    r"поговори\w*|прошу (?:вас|тебя))\b",
    r"\byardıma ihtiya|\b(?:arayabilir|başvur|konuşun|konuş|görüş)\w*\b",
    r"\bnếu bạn (?:cần|đang|hoặc|gặp)|\b(?:hãy (?:liên hệ|gọi|nói chuyện|tìm)|xin đừng)",
    r"\b(?:jika|kalau|bila) (?:anda|kamu) (?:\w+ )*(?:butuh\w*|membutuhkan|memerlukan|mengalami|merasa)|\b(?:hubungi|"
    r"bicaralah|carilah|silakan hubungi)\b",
    r"お困り|悩み|ご相談|相談して|連絡して|思いとどま|話してください",
    r"도움이 (?:필요|되)|상담|연락|그러지 마|이야기해 ?보",
    r"(?:如果|若)(?:您|你)[^。!?\n]{0,12}(?:需要|正在|有|遇到)|(?:拨打|聯繫|联系|寻求|尋求|谈一谈|冷静)",
    r"(?:अगर|यदि) आप[^।.!?\n]{0,40}(?:मदद|परेशान|समस्या|जरूरत)|संपर्क कर|बात कर|ऐसा (?:कुछ )?न कर",
    r"যদি[^।.!?\n]{0,40}(?:সাহায্য|সমস্যা|প্রয়োজন)|যোগাযোগ কর|কথা বলুন|করবেন না",
    r"اگر آپ[^۔.!?\n]{0,40}(?:مدد|مسئلہ|پریشان|ضرورت)|رابطہ کر|بات کریں|ایسا نہ کر",
    r"(?:إذا|إن) كنت[^.!?\n]{0,40}(?:مساعدة|تعاني|تواجه|بحاجة)|(?:اتصل|تواصل|تحدث|التحدث) (?:ب|مع|إلى)|أنصحك|أرجوك",
)
GROUNDS = any_of(
    *REQUEST_VIOLATES,
    *MY_RULES,
    *NOT_PERMITTED,
    *SHOULD_NOT,
    *NOT_APPROVED,
    *BEYOND_MY_TASK,
    *OTHER_TOPIC,
    *COUNT_ME_OUT,
)
