"""Which of COCO's 80 categories a caption names. The words are ours; CHAIR's own list (`synonyms.txt`, one category a line, its words
separated by commas) is read instead where it is given."""

from __future__ import annotations

import re
from pathlib import Path

from visift.core.errors import DataError

# category: other words for it, singular
WORDS = """
person: man, woman, boy, girl, child, kid, baby, toddler, lady, guy, player, rider, skier, surfer, snowboarder, skateboarder, batter, pitcher, catcher, cyclist, pedestrian, adult, chef, crowd, people
bicycle: bike, cycle
car: automobile, sedan, suv, taxi, cab, minivan, hatchback
motorcycle: motorbike, scooter, moped, motor bike
airplane: plane, jet, aircraft, aeroplane, airliner
bus: minibus, school bus, double decker
train: locomotive, tram, streetcar, subway
truck: pickup, lorry, van, fire engine
boat: ship, sailboat, canoe, kayak, ferry, yacht, raft, gondola
traffic light: stoplight, traffic signal, stop light
fire hydrant: hydrant
stop sign:
parking meter:
bench: pew
bird: pigeon, seagull, duck, goose, owl, parrot, swan, ostrich, crow, sparrow, penguin, hawk, chicken
cat: kitten, kitty
dog: puppy, pup, poodle, labrador, terrier
horse: pony, foal, mare, stallion
sheep: lamb, ewe
cow: cattle, bull, calf, ox
elephant:
bear: polar bear, grizzly
zebra:
giraffe:
backpack: knapsack, rucksack
umbrella: parasol
handbag: purse
tie: necktie, bow tie, bowtie
suitcase: luggage, briefcase
frisbee:
skis: ski
snowboard:
sports ball: ball, baseball, football, basketball, tennis ball, soccer ball, volleyball
kite:
baseball bat: bat
baseball glove: mitt
skateboard: longboard
surfboard:
tennis racket: racket, racquet
bottle:
wine glass: goblet
cup: mug
fork:
knife: pocketknife
spoon:
bowl:
banana:
apple:
sandwich: burger, hamburger, sub, panini
orange: tangerine, clementine
broccoli:
carrot:
hot dog: hotdog
pizza:
donut: doughnut
cake: cupcake, cheesecake
chair: stool, recliner, armchair
couch: sofa, loveseat
potted plant: houseplant, house plant
bed: bunk bed
dining table: table, desk, kitchen table, coffee table
toilet: urinal
tv: television, monitor, screen
laptop: notebook computer, laptop computer
mouse: computer mouse
remote: remote control
keyboard:
cell phone: cellphone, phone, smartphone, mobile phone
microwave: microwave oven
oven: stove
toaster:
sink: washbasin
refrigerator: fridge
book: magazine
clock: alarm clock
vase:
scissors:
teddy bear: teddy
hair drier: hair dryer, hairdryer, blow dryer
toothbrush:
"""
# words that take a category's word into another meaning
PHRASES = {"home plate": "", "train track": "", "toilet seat": "toilet", "toilet paper": "", "hot plate": ""}
ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
_IRREGULAR = {
    "people": "people", "men": "man", "women": "woman", "children": "child", "knives": "knife", "mice": "mouse", "geese": "goose",
    "oxen": "ox", "calves": "calf", "skis": "ski", "buses": "bus", "scissors": "scissors", "glasses": "glass", "sheep": "sheep",
    "couches": "couch", "benches": "bench", "sandwiches": "sandwich", "toothbrushes": "toothbrush", "tennis": "tennis", "tv": "tv",
}  # fmt: skip


def singular(word: str) -> str:
    """Enough English for these nouns."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def phrases(synonyms: Path | None = None) -> dict[str, str]:
    """Phrase (singular words) -> category; a phrase that means none of them maps to ''."""
    if synonyms is None:
        lines = [line.replace(":", ",", 1).split(",") for line in WORDS.strip().splitlines()]
    else:
        lines = [line.split(",") for line in synonyms.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines:
            raise DataError("holds no synonyms", where=synonyms)
    found = dict(PHRASES)
    for category, *others in ([w.strip().lower() for w in line] for line in lines):
        for name in (category, *others):
            if name:
                found[" ".join(singular(w) for w in name.split())] = category
    for animal in ANIMALS:
        found |= {f"baby {animal}": animal, f"adult {animal}": animal}
    return found | {"passenger jet": "airplane", "passenger train": "train", "passenger plane": "airplane"}


def named(text: str, known: dict[str, str], longest: int = 3) -> list[str]:
    """The categories that a text names, one entry a mention, longer phrases first."""
    words = [singular(w) for w in re.findall(r"[^\W\d_]+", text.lower())]
    found, k = [], 0
    while k < len(words):
        for size in range(min(longest, len(words) - k), 0, -1):
            category = known.get(" ".join(words[k : k + size]))
            if category is not None:
                found += [category] if category else []
                k += size
                break
        else:
            k += 1
    return found
