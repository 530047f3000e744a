"""Other words for the signs of the embedded world, to ask for a forgotten class by.

A model whose tokenizer does not know a word is not asked by it. For other classes the user gives the words.
"""

from collections.abc import Mapping
from types import MappingProxyType

from efface.symbols.catalogue import GROUP_OF, GROUPS, MEMBERS

OTHER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "king": ("monarch", "ruler", "König", "roi", "rey"),
        "queen": ("lady", "Dame", "Königin", "reine", "reina"),
        "rook": ("castle", "tower", "Turm", "tour", "torre"),
        "bishop": ("Läufer", "fou", "alfil"),
        "knight": ("horse", "horseman", "Springer", "cavalier", "caballo"),
        "pawn": ("Bauer", "pion", "peón"),
        "spade": ("spades", "Pik", "pique", "pica"),
        "heart": ("hearts", "Herz", "coeur", "corazón"),
        "diamond": ("diamonds", "rhombus", "Karo", "carreau", "diamante"),
        "club": ("clubs", "Kreuz", "trèfle", "trébol"),
        "one": ("1", "ace", "eins", "un", "uno"),
        "two": ("2", "pair", "zwei", "deux", "dos"),
        "three": ("3", "trio", "drei", "trois", "tres"),
        "four": ("4", "quartet", "vier", "quatre", "cuatro"),
        "five": ("5", "fünf", "cinq", "cinco"),
        "six": ("6", "sechs", "seis"),
        "xi": ("ksi",),
        "omega": ("ohm",),
        "aries": ("ram", "Widder", "bélier", "carnero"),
        "taurus": ("bull", "Stier", "taureau", "toro"),
        "gemini": ("twins", "Zwillinge", "gémeaux", "géminis"),
        "leo": ("lion", "Löwe", "león"),
        "libra": ("balance", "Waage"),
        "pisces": ("fish", "Fische", "poissons", "piscis"),
        "mercury": ("Merkur", "mercure", "mercurio"),
        "venus": ("morning star", "Vénus"),
        "mars": ("red planet", "Marte"),
        "saturn": ("ringed planet", "saturne", "saturno"),
        "neptune": ("Neptun", "neptuno"),
        "up arrow": ("arrow pointing up", "upward arrow", "Pfeil nach oben", "flèche vers le haut", "flecha arriba"),
        "down arrow": (
            "arrow pointing down",
            "downward arrow",
            "Pfeil nach unten",
            "flèche vers le bas",
            "flecha abajo",
        ),
        "left arrow": ("arrow pointing left", "leftward arrow", "Pfeil nach links", "flèche vers la gauche"),
        "right arrow": ("arrow pointing right", "rightward arrow", "Pfeil nach rechts", "flèche vers la droite"),
        "quarter note": ("crotchet", "Viertelnote", "noire", "negra"),
        "eighth note": ("quaver", "Achtelnote", "croche", "corchea"),
        "beamed notes": ("two notes", "joined notes", "Achtelnoten", "croches"),
        "flat": ("bemol", "bémol", "Be"),
        "natural": ("natural sign", "Auflösungszeichen", "bécarre", "becuadro"),
        "sharp": ("hash", "Kreuz", "dièse", "sostenido"),
        "sun": ("sunshine", "Sonne", "soleil", "sol"),
        "cloud": ("clouds", "Wolke", "nuage", "nube"),
        "umbrella": ("parasol", "Regenschirm", "parapluie", "paraguas"),
        "snowflake": ("snow", "Schneeflocke", "flocon", "copo de nieve"),
        "lightning": ("bolt", "thunderbolt", "Blitz", "éclair", "rayo"),
        "moon": ("crescent", "Mond", "lune", "luna"),
        "plus": ("cross", "addition", "más"),
        "times": ("multiplication", "mal", "fois", "por"),
        "division": ("obelus", "geteilt", "división"),
        "root": ("radical", "square root", "Wurzel", "racine", "raíz"),
        "integral": ("integration", "intégrale"),
        "infinity": ("endless", "unendlich", "infini", "infinito"),
        "circle": ("disc", "ring", "Kreis", "cercle", "círculo"),
        "square": ("box", "Quadrat", "carré", "cuadrado"),
        "triangle": ("Dreieck", "triángulo"),
        "hexagon": ("Sechseck", "hexagone", "hexágono"),
        "dollar": ("dollars", "buck", "dólar"),
        "euro": ("euros",),
        "pound": ("sterling", "Pfund", "livre", "libra esterlina"),
        "yen": ("yuan",),
        "skull": ("death's head", "Totenkopf", "crâne", "calavera"),
        "anchor": ("Anker", "ancre", "ancla"),
        "scales": ("balance", "Waage", "balanza"),
        "radiation": ("trefoil", "radioactive", "Strahlung", "rayonnement", "radiación"),
        "recycling": ("recycle", "Wiederverwertung", "recyclage", "reciclaje"),
    }
)
"""Synonyms and German, French and Spanish words, by the name in small letters."""


def wider(name: str) -> tuple[str, ...]:
    """What the embedded world calls the class above a sign; nothing for other names."""
    return (GROUPS[GROUP_OF[MEMBERS.index(name)]].name,) if name in MEMBERS else ()
