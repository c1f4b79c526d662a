"""Something done before each of torch's operators, of this thread."""

from __future__ import annotations

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
