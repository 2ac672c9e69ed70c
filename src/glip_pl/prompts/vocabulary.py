"""The names of a data set as prompts: what each costs, what fits, what an image is asked."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from glip_pl.prompts.compiler import describe
from glip_pl.prompts.limits import room_for_names
from glip_pl.prompts.prompt import Prompt, PromptTemplate
from glip_pl.prompts.sampling import training_names
from glip_pl.prompts.tokens import Tokenizer


class Vocabulary:
    """Names that any prompt may hold some of, in any order.

    Attributes:
        room: Tokens that the names of one prompt may take, counted as by `cost`.
    """

    def __init__(
        self,
        names: Sequence[str],
        tokenizer: Tokenizer,
        *,
        template: PromptTemplate,
        descriptions: Mapping[int, str] | None = None,
    ) -> None:
        """Count the tokens of each name.

        Args:
            names: The names as prompts spell them.
            tokenizer: Counts tokens and says how many there may be.
            template: How names become a caption.
            descriptions: Words around some names, by position; see `compile_names`.
        """
        described = descriptions or {}
        self._template = template
        self._pieces = [describe(name, described.get(i)) for i, name in enumerate(names)]
        self.room, separator = room_for_names(template, tokenizer)
        counts = tokenizer.count([piece.caption for piece in self._pieces])
        self._costs = [count + separator for count in counts]

    def cost(self, ids: Iterable[int]) -> int:
        """Count the tokens of some names, each with a separator."""
        return sum(self._costs[i] for i in ids)

    def prompt(self, ids: Iterable[int]) -> Prompt:
        """Write some names into a prompt, in the order given."""
        return self._template.join_prompts([self._pieces[i] for i in ids])

    def sample(self, present: Collection[int], max_negatives: int) -> list[int]:
        """Draw the names of a training prompt: those present, and negatives as far as they fit."""
        room = self.room - self.cost(set(present))
        kept = []
        for i in training_names(present, len(self._pieces), max_negatives):
            if i not in present:
                if self._costs[i] > room:
                    continue
                room -= self._costs[i]
            kept.append(i)
        return kept
