"""How an operation that is written once stands on both clients: as a blocking method, and as one that is awaited.

An operation is a function that gives steps. On a part of a `Client` it returns their result, on a part of an
`AsyncClient` a coroutine of it; type checkers see the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, Generic, ParamSpec, TypeVar, overload

from sightline.client.carriers import Awaiting, Blocking, Carrier
from sightline.client.steps import Items, Steps

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=Carrier)


class Part(Generic[C]):
    """What operations stand on.

    Args:
        carrier: carries them out.
    """

    def __init__(self, carrier: C) -> None:
        self._carrier: C = carrier

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._carrier.name!r})"


class _Standing:
    """What an operation is beside its types.

    Args:
        steps: gives the steps of one call.
    """

    carried_by = "run"

    def __init__(self, steps: Callable[..., Any]) -> None:
        self._steps = steps
        self._name = steps.__name__
        self.__doc__ = steps.__doc__
        self.__wrapped__ = steps
        self.__signature__ = _signature(steps)  # where `inspect.signature` looks

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __call__(self, part: Part[Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do as the method of `part` does, as with any function that stands on a class."""
        return self._bound(part)(*args, **kwargs)

    def _bound(self, part: Part[Any]) -> Any:
        """Return the method of one part; it is made once."""
        steps, carry = self._steps, getattr(part._carrier, self.carried_by)  # noqa: SLF001 - parts are made of these

        @wraps(steps)
        def method(*args: Any, **kwargs: Any) -> Any:
            return carry(steps(*args, **kwargs))

        own = self.__signature__
        method.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])  # type: ignore[attr-defined]
        part.__dict__[self._name] = method
        return method


def _signature(steps: Callable[..., Any]) -> Signature:
    """Return the signature of the method that gives what `steps` give in the end."""
    found = signature(steps)
    gives, _, inside = str(found.return_annotation).removesuffix("]").partition("[")
    returned = {"Steps": inside, "Items": f"Iterator[{inside}]"}.get(gives, found.return_annotation)
    own = Parameter("self", Parameter.POSITIONAL_ONLY)
    return found.replace(parameters=[own, *found.parameters.values()], return_annotation=returned)


class Operation(_Standing, Generic[P, T]):
    """A method that gives the result of steps."""

    def __init__(self, steps: Callable[P, Steps[T]]) -> None:
        super().__init__(steps)

    @overload
    def __get__(self, part: None, owner: type | None = None) -> Operation[P, T]: ...
    @overload
    def __get__(self, part: Part[Blocking], owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, part: Part[Awaiting], owner: type | None = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, part: Part[Any] | None, owner: type | None = None) -> Any:
        return self if part is None else self._bound(part)


class Listing(_Standing, Generic[P, T]):
    """A method that iterates over what steps hand out."""

    carried_by = "each"

    def __init__(self, steps: Callable[P, Items[T]]) -> None:
        super().__init__(steps)

    @overload
    def __get__(self, part: None, owner: type | None = None) -> Listing[P, T]: ...
    @overload
    def __get__(self, part: Part[Blocking], owner: type | None = None) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, part: Part[Awaiting], owner: type | None = None) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, part: Part[Any] | None, owner: type | None = None) -> Any:
        return self if part is None else self._bound(part)
