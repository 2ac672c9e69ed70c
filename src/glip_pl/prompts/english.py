"""Short lists of English words that tell where a noun phrase begins and ends.

Closed classes are complete as far as captions use them; verbs and adjectives are those that are
frequent in captions. Everything unknown is taken for a noun.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MANY = _words(
    "two three four five six seven eight nine ten eleven twelve dozen several some many few both "
    "all multiple various numerous different other"
)
DETERMINERS = MANY | _words(
    "a an the this that these those my your his her its our their one another each every any no "
    "either neither half such"
)
# "a group of people" is one phrase; "a" and "of" around these belong to it.
QUANTITIES = _words(
    "group groups couple bunch pair pairs lot lots number dozen dozens herd flock crowd row rows "
    "set stack pile variety fleet team line plenty"
)
# No things: "in the background", "the back of a truck".
PLACES = _words(
    "front back top side sides middle bottom background foreground left right distance center edge "
    "end rest way air day time kind type sort view midair"
)
PHRASAL = (
    *("in front of", "on top of", "next to", "in between", "close to", "each other"),
    *("one another", "as well as", "out of", "because of", "full of", "at night", "up close"),
)
ADJECTIVES = _words(
    "white black red blue green yellow brown grey gray pink purple tan beige gold golden silver "
    "dark bright pale big large huge giant small little tiny tall short long wide narrow "
    "young old older new antique modern vintage clean dirty empty full open closed wet dry hot "
    "cold warm fresh ripe sweet wooden metal metallic plastic stone brick concrete colorful "
    "colourful sunny cloudy snowy grassy rocky sandy muddy fluffy furry shaggy hairy beautiful "
    "pretty cute nice lovely fancy happy busy crowded quiet female male adult single double round "
    "square flat thick thin high low fast heavy soft hard real fake unique strange same similar "
    "lush bare ready alone asleep barefoot professional commercial residential interesting"
)
# Inside a phrase they go with the adjective that follows: "a very big dog".
INTENSIFIERS = _words("very quite rather more most less well so too")
CLOSED = _words(
    # prepositions
    "about above across after against along alongside amid amidst among amongst around as at atop "
    "before behind below beneath beside besides between beyond by despite down during except for "
    "from in into like near nearby of off on onto opposite over past per through throughout till "
    "to toward towards under underneath until up upon via with within without including "
    # conjunctions and question words
    "and or but nor yet if because while although though when where whereas which who whom "
    "whose what how why than that's whether "
    # pronouns
    "i you he she it we they me him us them mine yours hers ours theirs myself himself herself "
    "itself themselves someone somebody something anyone anything everyone everything nothing "
    "nobody there here it's there's he's she's they're "
    # auxiliary verbs
    "is are was were be been being am do does did has have had having can could will would shall "
    "should may might must not isn't aren't doesn't don't "
    # adverbs
    "also just only even still again already almost always never often now then together "
    "apart away forward forwards backward backwards upside sideways outdoors indoors overhead "
    "ahead aside next much maybe perhaps ago once twice instead else "
    "everywhere somewhere downhill uphill inside outside upstairs downstairs "
    # verbs in the past tense
    "sat stood held wore rode ate drank laid lay lain ran flew drove swam threw caught hung slept "
    "took taken made got gotten went gone came gave given seen shown kept left brought built cut "
    "found fed led lit met sold sent spread stuck told thought worn shaped fallen"
)
SUBJECTS = _words("i you he she it we they who which that")
BEFORE_VERBS = _words("to can could will would may might must should")
VERBS = _words(
    "sit stand lie lay ride hold wear eat play walk run jump fly drive look watch carry graze rest "
    "lean hang swim surf ski skate throw catch hit swing kick pose smile sleep drink cook prepare "
    "cut feed pull push grab reach cross travel pass move face show contain feature include "
    "surround fill cover display serve share use try take make get go come have give put wait work "
    "talk read write gather enjoy peck open perform compete race chase pet touch point stare gaze "
    "roam wander climb fall float sail land perch park row skateboard snowboard slice bite kneel "
    "bend squat crouch stretch lick sniff dig wash brush clean shop sell buy appear seem cuddle "
    "hug kiss help follow lead approach attempt fix paint wade splash spray roll lift toss begin "
    "see stop stay line snack observe train practice speak adjust check blow tie turn set bring "
    "need want plan"
)


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


VERBS_WITH_S = frozenset(map(_third_person, VERBS))
PLURALS = _words("people men women children sheep deer geese police teeth feet mice cattle")
NOT_PLURAL = _words(
    "bus tennis gas lens canvas christmas octopus circus campus cactus hummus swiss sports us "
    "asparagus citrus walrus lotus"
)
NOUNS_WITH_ING = _words(
    "building ceiling wing ring king string clothing painting parking dining living railing awning "
    "crossing wedding evening morning icing frosting pudding dressing landing stuffing bedding "
    "lighting spring sling swing sewing flooring siding earring topping seasoning helping "
    "drawing opening meeting thing viking duckling dumpling sibling shopping bowling boxing "
    "sightseeing clearing pricing vending carving covering ironing plumbing writing wiring"
)
NOUNS_WITH_LY = _words(
    "family fly belly jelly lily butterfly dragonfly gully bully supply assembly ally curly woolly "
    "ugly holy silly lonely friendly lovely early elderly wooly hilly monopoly"
)
NOUNS_WITH_ED = _words("bobsled hundred moped infrared watershed naked")
