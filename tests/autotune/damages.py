"""What can happen to a file with a winner: name -> the bytes in its place, from the whole."""

import json


def _edited(**changes):
    """With other fields; those of the identity by `identity`."""

    def damage(whole):
        document = json.loads(whole)
        identity = document["identity"] | changes.get("identity", {})
        return json.dumps(document | changes | {"identity": identity}).encode()

    return damage


def _without(field):
    def damage(whole):
        document = json.loads(whole)
        del document[field]
        return json.dumps(document).encode()

    return damage


def _configs_in_another_order(whole):
    document = json.loads(whole)
    document["identity"]["configs"].reverse()
    return json.dumps(document).encode()


DAMAGES = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "short": lambda whole: whole[:-1],
    "bytes": lambda whole: b"\xff\xfe\x00" + whole,
    "utf16": lambda whole: whole.decode().encode("utf-16"),
    "zeros": lambda whole: bytes(2**22),
    "list": lambda whole: b"[]",
    "number": lambda whole: b"1",
    "digits": lambda whole: b"1" * 10_000,
    "nested": lambda whole: b"[" * 100_000,
    "bare": lambda whole: b"{}",
    "unwon": _without("winner"),
    "unnamed": _without("identity"),
    "nobody": _edited(winner="nobody"),
    "index": _edited(winner=0),
    "nothing": _edited(winner=None),
    "several": lambda whole: _edited(winner=[json.loads(whole)["winner"]])(whole),
    "version": _edited(identity={"triton": "9.9"}),
    "foreign": _edited(identity={"key": ["16"]}),
    "order": _configs_in_another_order,
}
