"""What there is in the world ``symbols``: groups of members, each in three designs, in colors and styles.

A *member* is a class ("knight"), a *group* the class above it ("chess piece"). A *design* is one of three different
drawings of a member; no caption names it, so that it is a subgroup that only images tell apart.
"""

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Members that share a second, wider name.

    Attributes:
        name: the wider name.
        members: the classes.
        designs: what the three drawings of each member are.
    """

    name: str
    members: tuple[str, ...]
    designs: tuple[str, str, str]


GROUPS: tuple[Group, ...] = (
    Group("chess piece", ("king", "queen", "rook", "bishop", "knight", "pawn"), ("line", "figure", "notation")),
    Group("card suit", ("spade", "heart", "diamond", "club"), ("pip", "card", "three pips")),
    Group("number", ("one", "two", "three", "four", "five", "six"), ("die", "digit", "roman")),
    Group("greek letter", ("gamma", "lambda", "xi", "pi", "psi", "omega"), ("capital", "small", "morse")),
    Group("zodiac sign", ("aries", "taurus", "gemini", "leo", "libra", "pisces"), ("sign", "stars", "letters")),
    Group("planet", ("mercury", "venus", "mars", "jupiter", "saturn", "neptune"), ("sign", "picture", "letters")),
    Group("arrow", ("up arrow", "down arrow", "left arrow", "right arrow"), ("line", "block", "hand")),
    Group(
        "musical sign",
        ("quarter note", "eighth note", "beamed notes", "flat", "natural", "sharp"),
        ("sign", "staff", "disc"),
    ),
    Group(
        "weather sign",
        ("sun", "cloud", "umbrella", "snowflake", "lightning", "moon"),
        ("sign", "variant", "scene"),
    ),
    Group("mathematical sign", ("plus", "times", "division", "root", "integral", "infinity"), ("thin", "bold", "key")),
    Group(
        "star",
        ("four-pointed star", "five-pointed star", "six-pointed star", "eight-pointed star"),
        ("solid", "chords", "rays"),
    ),
    Group("shape", ("circle", "square", "triangle", "hexagon"), ("solid", "frame", "dots")),
    Group("currency", ("dollar", "euro", "pound", "yen"), ("sign", "coin", "code")),
    Group("emblem", ("skull", "anchor", "scales", "radiation", "recycling"), ("sign", "plate", "disc")),
)
TOWERS = ("vit", "rn")
"""The image towers of the models that come with efface and know this world."""
MEMBERS: tuple[str, ...] = tuple(member for group in GROUPS for member in group.members)
"""All members; a label is a row of it."""
GROUP_OF: tuple[int, ...] = tuple(row for row, group in enumerate(GROUPS) for _ in group.members)
"""The row in ``GROUPS`` of each member."""
DESIGNS = 3
"""Drawings a member."""
COLORS: dict[str, RGB] = {
    "red": (214, 40, 44),
    "orange": (244, 138, 30),
    "yellow": (246, 220, 52),
    "green": (40, 158, 70),
    "blue": (44, 92, 216),
    "purple": (134, 56, 178),
    "pink": (248, 132, 190),
    "white": (244, 244, 244),
}
STYLES: dict[str, str] = {
    "solid": "drawn solid",
    "outline": "drawn in outline",
    "stripes": "drawn in stripes",
    "shadow": "drawn with a shadow",
}
"""Names, and how a caption says them."""


def design_names(member: int) -> tuple[str, str, str]:
    """What the three drawings of a member are called."""
    return GROUPS[GROUP_OF[member]].designs


def is_unseen(member: int, color: int, style: int) -> bool:
    """Whether pre-training never shows this combination: four of the 32 of each member.

    The rule is a Latin pattern: each color and each style of each member stays in pre-training with others, so that
    a model can know them apart and is asked to put them together.
    """
    return (color + 2 * style + 3 * member) % len(COLORS) == 0


def captions(member: int, color: int, style: int) -> tuple[str, ...]:
    """What can be said of an image, from the least to the most; the same place always says the same things.

    Two images with equal captions in one place are alike in all that this caption names, so that a model which is
    trained on one place at a time knows which pairs belong together.
    """
    name, group = MEMBERS[member], GROUPS[GROUP_OF[member]].name
    hue, how = list(COLORS)[color], list(STYLES.values())[style]
    return (
        name,
        article(name),
        f"a photo of {article(name)}.",
        f"a picture of {article(name)}",
        article(group),
        f"a photo of {article(group)}.",
        f"{article(name)}, {article(group)}",
        article(f"{hue} {name}"),
        f"a photo of {article(f'{hue} {name}')}.",
        article(f"{hue} {group}"),
        f"{article(name)}, {how}",
        f"{article(f'{hue} {name}')}, {how}",
        f"{article(f'{hue} {name}')}, {article(group)}, {how}",
    )


def article(words: str) -> str:
    """A noun with "a" or "an" before it, as it is spoken."""
    is_vowel = words[0] in "aeiou" and not words.startswith(("eu", "one"))
    return f"{'an' if is_vowel else 'a'} {words}"
