"""The data sets of ODinW, "object detection in the wild": folders, names and prompts, as facts.

The names and prompts are those that official GLIP evaluates with. They differ between its two
lists: the 35 sets have better words for three of the 13 and, for four, words around the names. See
GLIP, Sec. 5 (https://arxiv.org/abs/2112.03857), and ELEVATER (https://arxiv.org/abs/2204.08790).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# The names of the categories 1, 2, ... of each set, by its folder, as the 35 prompts have them.
# Two are our own, where official GLIP has a blank, and a letter twice: no model can tell those.
_NAMES = {
    "AerialMaritimeDrone/large": "boat, car, dock, jetski, lift",
    "AerialMaritimeDrone/tiled": "boat, car, dock, jetski, lift",
    "AmericanSignLanguageLetters/American Sign Language Letters.v1-v1.coco": (
        "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z"
    ),
    "Aquarium/Aquarium Combined.v2-raw-1024.coco": (
        "fish, jellyfish, penguin, puffin, shark, starfish, stingray"
    ),
    "BCCD/BCCD.v3-raw.coco": "Platelets, RBC, WBC",
    "ChessPieces/Chess Pieces.v23-raw.coco": (
        "chess piece, black bishop, black king, black knight, black pawn, black queen, black rook, "
        "white bishop, white king, white knight, white pawn, white queen, white rook"
    ),
    "CottontailRabbits": "rabbit",
    "DroneControl/Drone Control.v3-raw.coco": (
        "follow, follow_hand, land, land_hand, null, object, takeoff, takeoff-hand"
    ),
    "EgoHands/generic": "hand",
    "EgoHands/specific": "myleft, myright, yourleft, yourright",
    "HardHatWorkers/raw": "head, helmet, person",
    "MaskWearing/raw": "mask, no-mask",
    "MountainDewCommercial": "bottle",
    "NorthAmericaMushrooms/North American Mushrooms.v1-416x416.coco": (
        "flat mushroom, yellow mushroom"
    ),
    "OxfordPets/by-breed": (
        "cat-Abyssinian, cat-Bengal, cat-Birman, cat-Bombay, cat-British_Shorthair, "
        "cat-Egyptian_Mau, cat-Maine_Coon, cat-Persian, cat-Ragdoll, cat-Russian_Blue, "
        "cat-Siamese, cat-Sphynx, dog-american_bulldog, dog-american_pit_bull_terrier, "
        "dog-basset_hound, dog-beagle, dog-boxer, dog-chihuahua, dog-english_cocker_spaniel, "
        "dog-english_setter, dog-german_shorthaired, dog-great_pyrenees, dog-havanese, "
        "dog-japanese_chin, dog-keeshond, dog-leonberger, dog-miniature_pinscher, "
        "dog-newfoundland, dog-pomeranian, dog-pug, dog-saint_bernard, dog-samoyed, "
        "dog-scottish_terrier, dog-shiba_inu, dog-staffordshire_bull_terrier, "
        "dog-wheaten_terrier, dog-yorkshire_terrier"
    ),
    "OxfordPets/by-species": "cat, dog",
    "PKLot/640": "space-empty, space-occupied",
    "Packages/Raw": "package",
    "PascalVOC": (
        "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, "
        "horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
    ),
    "Raccoon/Raccoon.v2-raw.coco": "raccoon",
    "ShellfishOpenImages/raw": "Crab, Lobster, Shrimp",
    "ThermalCheetah": "cheetah, human",
    "UnoCards/raw": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14",
    "VehiclesOpenImages/416x416": "Ambulance, Bus, Car, Motorcycle, Truck",
    "WildfireSmoke": "smoke",
    "boggleBoards/416x416AutoOrient/export": (
        "Q, a, an, b, c, d, e, er, f, g, h, he, i, in, j, k, l, m, n, o, another o, p, q, qu, r, "
        "s, t, t\\, th, u, v, w, wild, x, y, z"
    ),
    "brackishUnderwater/960x540": "crab, fish, jellyfish, shrimp, small_fish, starfish",
    "dice/mediumColor/export": "1, 2, 3, 4, 5, 6",
    "openPoetryVision/512x512": (
        "American Typewriter, Andale Mono, Apple Chancery, Arial, Avenir, Baskerville, Big Caslon, "
        "Bradley Hand, Brush Script MT, Chalkboard, Comic Sans MS, Copperplate, Courier, Didot, "
        "Futura, Geneva, Georgia, Gill Sans, Helvetica, Herculanum, Impact, Kefa, Lucida Grande, "
        "Luminari, Marker Felt, Menlo, Monaco, Noteworthy, Optima, PT Sans, PT Serif, Palatino, "
        "Papyrus, Phosphate, Rockwell, SF Pro, SignPainter, Skia, Snell Roundhand, Tahoma, "
        "Times New Roman, Trebuchet MS, Verdana"
    ),
    "pistols/export": "pistol",
    "plantdoc/416x416": (
        "Apple Scab Leaf, Apple leaf, Apple rust leaf, Bell_pepper leaf, Bell_pepper leaf spot, "
        "Blueberry leaf, Cherry leaf, Corn Gray leaf spot, Corn leaf blight, Corn rust leaf, "
        "Peach leaf, Potato leaf, Potato leaf early blight, Potato leaf late blight, "
        "Raspberry leaf, Soyabean leaf, Soybean leaf, Squash Powdery mildew leaf, "
        "Strawberry leaf, Tomato Early blight leaf, Tomato Septoria leaf spot, Tomato leaf, "
        "Tomato leaf bacterial spot, Tomato leaf late blight, Tomato leaf mosaic virus, "
        "Tomato leaf yellow virus, Tomato mold leaf, Tomato two spotted spider mites leaf, "
        "grape leaf, grape leaf black rot"
    ),
    "pothole": "holes",
    "selfdrivingCar/fixedLarge/export": (
        "biker, car, pedestrian, trafficLight, trafficLight-Green, trafficLight-GreenLeft, "
        "trafficLight-Red, trafficLight-RedLeft, trafficLight-Yellow, trafficLight-YellowLeft, "
        "truck"
    ),
    "thermalDogsAndPeople": "dog, person",
    "websiteScreenshots": "button, field, heading, iframe, image, label, link, text",
}

# Where the 13 prompts have other names.
_NAMES_13 = {
    "CottontailRabbits": "Cottontail-Rabbit",
    "NorthAmericaMushrooms/North American Mushrooms.v1-416x416.coco": "CoW, chanterelle",
    "pothole": "pothole",
}

# Words around names in the 35 prompts.
_DESCRIPTIONS = {
    "Aquarium/Aquarium Combined.v2-raw-1024.coco": {
        "penguin": "{name} , which is black and white",
        "puffin": "{name} with orange beaks",
        "stingray": "{name} which is flat and round",
    },
    "EgoHands/generic": {"hand": "{name} of a person"},
    "Packages/Raw": {"package": "there is a {name} on the porch"},
    "pothole": {"holes": "there are some {name} on the road"},
}

# In the order of GLIP's tables.
_THIRTEEN = (
    "PascalVOC",
    "AerialMaritimeDrone/large",
    "Aquarium/Aquarium Combined.v2-raw-1024.coco",
    "CottontailRabbits",
    "EgoHands/generic",
    "NorthAmericaMushrooms/North American Mushrooms.v1-416x416.coco",
    "Packages/Raw",
    "Raccoon/Raccoon.v2-raw.coco",
    "ShellfishOpenImages/raw",
    "VehiclesOpenImages/416x416",
    "pistols/export",
    "pothole",
    "thermalDogsAndPeople",
)


@dataclass(frozen=True)
class OdinwSet:
    """A data set and how official GLIP asks for its categories.

    Attributes:
        name: What it is called here.
        folder: Where it lies in official GLIP's folder ``odinw``.
        names: The names of the categories 1, 2, ... in the prompt.
        aliases: Per category, all names that it goes by in either list.
        descriptions: Words around some of the names.
        test: The folder of its test split; of Pascal VOC, official GLIP tests on ``valid``.
    """

    name: str
    folder: str
    names: tuple[str, ...]
    aliases: tuple[frozenset[str], ...]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    test: str = "test"


def odinw_13() -> list[OdinwSet]:
    """List the 13 sets of GLIP's tables, with the names that its 13 configurations have."""
    return [_entry(folder, thirteen=True) for folder in _THIRTEEN]


def odinw_35() -> list[OdinwSet]:
    """List all 35 sets, with the names and descriptions that its 35 configurations have."""
    return [_entry(folder, thirteen=False) for folder in _NAMES]


def _entry(folder: str, *, thirteen: bool) -> OdinwSet:
    first, *rest = folder.lower().split("/")
    unique = sum(other.lower().split("/")[0] == first for other in _NAMES) == 1
    names = tuple(_NAMES[folder].split(", "))
    older = tuple(_NAMES_13.get(folder, _NAMES[folder]).split(", "))
    return OdinwSet(
        name=first if unique else f"{first}_{rest[0]}",
        folder=folder,
        names=older if thirteen else names,
        aliases=tuple(frozenset(pair) for pair in zip(names, older, strict=True)),
        descriptions={} if thirteen else _DESCRIPTIONS.get(folder, {}),
        test="valid" if folder == "PascalVOC" else "test",
    )
