"""How questions are put, by skill: our own wordings, as data."""

from __future__ import annotations

WORDINGS: dict[str, tuple[str, ...]] = {
    "count": (
        "How many {names} are there?",
        "How many {names} can you see?",
        "What is the number of {names} in the picture?",
        "Count the {names}.",
    ),
    "count_sentence": (
        "How many {names} are there?",
        "Can you count the {names}?",
        "How many {names} does the picture show?",
    ),
    "count_list": ("How many {names} are there?", "Count the {names}.", "How many of each are there: {names}?"),
    "count_choice": ("How many {names} are there?", "Which is the right number of {names}?"),
    "presence": (
        "{be} there {what} in the picture?",
        "Can you see {what} here?",
        "Does the picture show {what}?",
        "Do you see {what}?",
    ),
    "presence_sentence": (
        "Can you find {what} in the picture?",
        "Does {what} appear in the picture?",
        "Is {what} visible?",
    ),
    "which": (
        "Which of these is in the picture?",
        "Which of the following can you see?",
        "Which of these does the picture show?",
        "One of these is in the picture. Which one?",
    ),
    "which_list": (
        "Which of these are in the picture: {names}?",
        "Which of the following can you see: {names}?",
        "Are any of these shown: {names}? Name all that are.",
    ),
    "place": ("Where in the picture {be} {the}?", "In which part of the picture {be} {the}?", "Where {be} {the}?"),
    "place_sentence": (
        "Where {be} {the}?",
        "Can you tell me where {the} {be}?",
        "Whereabouts in the picture {be} {the}?",
    ),
    "place_choice": ("Which of these is {at} of the picture?", "What do you see {at} of the picture?"),
    "box": (
        "Where exactly {be} {the}?",
        "What is the bounding box of {the}?",
        "Locate {the}.",
        "Draw a box around {the}.",
    ),
    "direction": ("Is {x} {word} {y}?", "In the picture, is {x} {word} {y}?", "Do you see {x} {word} {y}?"),
    "size_sentence": (
        "Which takes up {word} of the picture, {x} or {y}?",
        "How do {x} and {y} compare in size, as we see them?",
    ),
    "colour": ("What colour is the {name}?", "Which colour does the {name} have?"),
    "caption": (
        "Describe the picture.",
        "What does the picture show?",
        "What is going on in the picture?",
        "What do you see in the picture?",
        "Sum up the picture.",
    ),
    "description": (
        "Describe the picture in detail.",
        "Tell me all about this picture.",
        "What can be said about this picture?",
        "Explain to someone who cannot see it what the picture shows.",
    ),
    "beside": ("On which side of {y} is {x}?", "Is {x} to the left or to the right of {y}?"),
    "above": ("Is {x} above or below {y}?", "Which is higher in the picture, {x} or {y}?"),
    "size_of_two": ("Which takes up {word} of the picture, {names}?", "Which covers {word} of the picture, {names}?"),
    "size_of_several": (
        "Of {names}, which takes up the {word} room in the picture?",
        "Which of {names} covers the {word} of the picture?",
    ),
    "size_of_two_options": ("Which of the two covers {word} of the picture?", "Which takes up {word} of the picture?"),
    "size_of_several_options": (
        "Which of these covers the {word} of the picture?",
        "Which of these takes up the {word} room in the picture?",
    ),
    "further": ("Which is further to the {side}?", "Which of the two is further to the {side}?"),
}
