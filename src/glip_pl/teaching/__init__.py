"""Teaching by captions: what a teacher finds of a sentence becomes data to train on."""

from glip_pl.teaching.captions import asked_of
from glip_pl.teaching.lessons import Lesson, Rule, lesson_of

__all__ = ["Lesson", "Rule", "asked_of", "lesson_of"]
