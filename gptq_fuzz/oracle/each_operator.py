"""Something done before each of torch's operators, of this thread."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils._python_dispatch import TorchDispatchMode


class EachOperator(TorchDispatchMode):
    """`before(operator)` is called; what it raises is what the operator raises."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nobody traces this; to keep Dynamo out torch would import it, for seconds

    def before(self, operator) -> None:
        raise NotImplementedError

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.before(operator)
        return operator(*args, **(kwargs or {}))


def makes_a_tensor(operator) -> bool:
    """Whether a result is no operand, nor a view of one: it may find no memory."""
    return any(made.alias_info is None for made in operator._schema.returns)


class Injected(RuntimeError):
    """What an operator raises where a call is broken off."""


class RaisesAt(EachOperator):
    """Operators of torch work as ever, but the one of that number raises such a problem."""

    def __init__(self, number: int, problem: type[BaseException] = Injected):
        super().__init__()
        self.left, self.problem = number, problem

    def before(self, operator) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.problem("raised by gptq-fuzz in the middle of a call")


def operators_of(call: Callable[[], object]) -> int:
    """How many operators of torch a call makes once what is kept of a layer is there."""
    call()
    count = OperatorsCounted()
    with count:
        call()
    return count.seen


class OperatorsCounted(EachOperator):
    """How many operators of torch were `seen`."""

    seen = 0

    def before(self, operator) -> None:
        self.seen += 1
