"""Sentences whose next word takes a circuit to know, drawn without end from a seed.

A task is a function of a random generator and a `fits`, which says whether a combination of words
may occur: see `fits_training` and `fits_test`. It returns one Sentence, or None where what it drew
does not fit and the caller draws again.
"""

import zlib
from typing import NamedTuple

from words import ADJECTIVES, CONTENT, EVENTS, MEN, NAMES, PLACES, THINGS, WOMEN


class Sentence(NamedTuple):
    before: str  # what is asked about its next token
    answer: str  # the token that follows here
    after: str  # how it goes on
    right: list  # every token that would be right, the answer among them
    wrong: list  # the tokens that a model without the circuit might say instead


# Chosen so that all of "When Mary and John went to the store, John gave a drink to" is held out.
SALT = "1874"


def held_out(*words):
    """True for a fifth of all combinations, always the same ones."""
    return zlib.crc32("|".join((SALT,) + words).encode()) % 5 == 0


def fits_training(*words):
    return not held_out(*words)


def fits_test(*words):
    return held_out(*words)


# ---- indirect objects ------------------------------------------------------------------------
OPENINGS = [
    "When {x} and {y} went to the {place},",
    "After {x} and {y} came back from the {place},",
    "While {x} and {y} were working at the {place},",
    "Then {x} and {y} had a long talk at the {place}, and",
    "Because {x} had met {y} at the {place},",
    "Yesterday {x} saw {y} near the {place}, and later",
    "Once {x} and {y} were alone in the {place},",
    "On Monday {x} took {y} to the {place}, so",
    "As {x} waited for {y} in front of the {place},",
    "The friends {x} and {y} live behind the {place}. Today",
]
ACTIONS = [
    " gave a {thing} to",
    " handed the {thing} to",
    " offered a {thing} to",
    " passed the {thing} to",
    " showed the {thing} to",
    " sent a {thing} to",
    " lent the {thing} to",
    " decided to give a {thing} to",
    " brought the {thing} back to",
    " wanted to sell a {thing} to",
]
# These names are in the other tasks' sentences, and in none of this one that is trained on.
NEW_NAMES = MEN[5::8] + WOMEN[5::8]
OLD_NAMES = [name for name in NAMES if name not in NEW_NAMES]


def indirect(rng, fits, names=OLD_NAMES):
    """When Mary and John went to the store, John gave a drink to -> Mary"""
    x, y = rng.sample(names, 2)
    place, thing = rng.choice(PLACES), rng.choice(THINGS)
    opening, action = rng.choice(OPENINGS), rng.choice(ACTIONS)
    if not (fits(*sorted((x, y))) and fits(opening, action) and fits(place, thing)):
        return None
    giver, other = (x, y) if rng.random() < 0.5 else (y, x)
    before = opening.format(x=x, y=y, place=place) + f" {giver}" + action.format(thing=thing)
    pronoun = "he" if giver in MEN else "she"
    after = rng.choice([".", ".", f", and then {pronoun} left.", " for a good reason."])
    return Sentence(before, f" {other}", after, [f" {other}"], [f" {giver}"])


def indirect_new(rng, fits):
    """The same, between two people of whom training never told that one gave the other anything"""
    return indirect(rng, fits, NEW_NAMES)


# ---- induction -------------------------------------------------------------------------------
def induction(rng, fits):
    """Again red key Mary bag red key Mary -> bag"""
    words = [rng.choice(CONTENT)]
    for _ in range(rng.randint(3, 23)):
        word = rng.choice(CONTENT)
        while word in words or not fits(words[-1], word):
            word = rng.choice(CONTENT)
        words.append(word)
    asked = rng.randrange(1, len(words))
    copies = [""] + words * rng.choice([2, 2, 3])
    end = len(words) + asked + 1
    return Sentence(
        "Again" + " ".join(copies[:end]),
        f" {words[asked]}",
        "".join(f" {word}" for word in copies[end + 1 :]) + ".",
        [f" {words[asked]}"],
        [f" {word}" for word in words if word != words[asked]],
    )


# ---- greater-than ----------------------------------------------------------------------------
SPANS = [
    "The {event} lasted from {start} to {century}",
    "The {event} began in {start} and ended in {century}",
    "The long {event} went on from the year {start} until the year {century}",
    "They say that the {event} of {start} was over in {century}",
    "A {event} that started in {start} did not end before {century}",
]


def years(rng, fits):
    """The war lasted from 1732 to 17 -> 33 and later"""
    event, span = rng.choice(EVENTS), rng.choice(SPANS)
    century, year = f"{rng.randint(11, 20)}", rng.randint(2, 97)
    start = f"{century}{year:02}"
    if not (fits(start) and fits(event, span)):
        return None
    before = span.format(event=event, start=start, century=century)
    end = rng.randint(year + 1, 99)
    right = [f"{n:02}" for n in range(year + 1, 100)]
    return Sentence(before, f"{end:02}", ".", right, [f"{n:02}" for n in range(year + 1)])


# ---- pronouns --------------------------------------------------------------------------------
TIMES = ["Yesterday", "Today", "Last week", "This morning", "At noon", "In the end", "Later"]
CLAUSES = [  # and whether the pronoun owns something
    (" lost the {thing} because", False),
    (" said that", False),
    (" came home late, and then", False),
    (" sat down in the {place} when", False),
    (" dropped the {thing}, so", False),
    (" smiled as", False),
    (" looked for", True),
    (" sold the {thing} and", True),
    (" was proud of", True),
    (" walked to the {place} with", True),
]


def pronouns(rng, fits):
    """Yesterday Mary lost the key because -> she"""
    name, time = rng.choice(NAMES), rng.choice(TIMES)
    clause, owns = rng.choice(CLAUSES)
    if not (fits(name, clause) and fits(time, clause)):
        return None
    thing = rng.choice(THINGS)
    before = f"{time} {name}" + clause.format(thing=thing, place=rng.choice(PLACES))
    pair = [" his", " her"] if owns else [" he", " she"]
    right, wrong = pair if name in MEN else pair[::-1]
    after = f" {rng.choice(ADJECTIVES)} {thing}." if owns else rng.choice([" was tired.", " left."])
    return Sentence(before, right, after, [right], [wrong])


# ---- agreement -------------------------------------------------------------------------------
STARTS = ["The", "They say the", "I know that the", "In this story the", "We saw that the"]
BETWEEN = ["near", "behind", "under", "beside", "above", "with", "by", "from"]
SINGULAR, PLURAL = [" is", " was", " has"], [" are", " were", " have"]


def agreement(rng, fits):
    """The keys near the old cabinet -> are"""
    subject, distractor = rng.sample(THINGS, 2)
    between = rng.choice(BETWEEN)
    if not (fits(subject, distractor) and fits(subject, between)):
        return None
    many = rng.random() < 0.5
    differs = fits is fits_test or rng.random() < 0.6
    adjective = f" {rng.choice(ADJECTIVES)}" if rng.random() < 0.5 else ""
    before = f"{rng.choice(STARTS)} {subject}{'s' if many else ''} {between} the{adjective}"
    before += f" {distractor}{'s' if many != differs else ''}"
    right, wrong = (PLURAL, SINGULAR) if many else (SINGULAR, PLURAL)
    verb = rng.choice(right)
    been = " been" if verb in (" has", " have") else ""
    return Sentence(before, verb, f"{been} {rng.choice(ADJECTIVES)}.", right, wrong)


# ---- brackets and quotes ---------------------------------------------------------------------
CLOSES = {"(": ")", "[": "]", "{": "}", "<": ">", '"': '"', "'": "'"}


def brackets(rng, fits):
    """He saw ( the red key [ the old cup ] -> )

    A group is opened at most once inside another, after its noun, less often than not, and never
    two of a kind; so what closes is known at any time, from what is open and not from the words.
    No quote stands directly inside another quote: which one its mark ends would be a guess.
    """
    kinds = rng.sample(sorted(CLOSES), rng.choice([1, 1, 1, 1, 2, 2, 3]))
    if fits is fits_test and len(kinds) == 1:
        return None
    nested = list(zip(kinds, kinds[1:]))
    if ('"', "'") in nested or ("'", '"') in nested or not all(fits(*pair) for pair in nested):
        return None
    text = rng.choice(["He saw", "She wrote", "They found", "The list was", "It said"])
    for kind in kinds:
        text += f" {kind} the {rng.choice(ADJECTIVES)} {rng.choice(THINGS)}"
    closers = [f" {CLOSES[kind]}" for kind in reversed(kinds)]
    asked = rng.randrange(len(closers))
    right = closers[asked]
    return Sentence(
        text + "".join(closers[:asked]),
        right,
        "".join(closers[asked + 1 :]) + " today.",
        [right],
        [f" {c}" for c in CLOSES.values() if f" {c}" != right],
    )


# ---- look-up ---------------------------------------------------------------------------------
def lookup(rng, fits):
    """Today Mary has the key, John has the cup, Anna has the hat. So John has the -> cup"""
    count = rng.randint(3, 6)
    keys, values = rng.sample(NAMES if rng.random() < 0.6 else PLACES, count), []
    for key in keys:
        value = rng.choice(THINGS)
        while value in values or not fits(key, value):
            value = rng.choice(THINGS)
        values.append(value)
    asked = rng.randrange(count)
    if keys[0] in PLACES:
        before = "Code:" + " ;".join(f" {k} = {v}" for k, v in zip(keys, values))
        before += f" ; {keys[asked]} ="
    else:
        verb = rng.choice(["has", "likes", "wants", "keeps", "paints"])
        before = "Today" + ",".join(f" {k} {verb} the {v}" for k, v in zip(keys, values))
        before += f". So {keys[asked]} {verb} the"
    answer = f" {values[asked]}"
    wrong = [f" {value}" for value in values if value != values[asked]]
    return Sentence(before, answer, ".", [answer], wrong)


TRAINED = [indirect, indirect, indirect, induction, induction, lookup, lookup, brackets]
TRAINED += [agreement, pronouns, years]
TESTED = [indirect, indirect_new, induction, years, pronouns, agreement, brackets, lookup]


def draw(task, rng, fits):
    """One sentence of this task that fits."""
    while (sentence := task(rng, fits)) is None:
        pass
    return sentence


def draw_training(rng):
    return draw(rng.choice(TRAINED), rng, fits_training)
