"""What the families share: argument checks, and what is known of a tensor and its surroundings.

Wrong operands raise here, before anything is launched or written.
"""

import operator

import torch
from torch.utils.weak import WeakTensorKeyDictionary

WORD_BITS = 32
SUPPORTED_BITS = (2, 4, 8)
ACTIVATION_DTYPES = (torch.float16, torch.bfloat16)
FLOATS = (torch.float16, torch.bfloat16, torch.float32)  # of scales, and what autocast casts
REALS = (*FLOATS, torch.float64)  # what can be cast to them

_checked_g_idx = WeakTensorKeyDictionary()  # g_idx -> its state when its values were read


def require_bits(bits):
    if isinstance(bits, bool) or not isinstance(bits, int) or bits not in SUPPORTED_BITS:
        raise NotImplementedError(f"bits must be one of {SUPPORTED_BITS}, not {bits!r}")


def require_maxq(maxq, bits):
    require_bits(bits)
    if maxq != 2**bits - 1:
        raise ValueError(f"maxq must be {2**bits - 1} for {bits} bits, not {maxq!r}")


def require_group_size(group_size):
    if isinstance(group_size, bool) or not hasattr(group_size, "__index__"):
        raise TypeError(f"the group size must be an integer, not {group_size!r}")
    if group_size != -1 and group_size < 1:
        raise ValueError(f"the group size must be -1 or at least 1, not {group_size}")


def rows_per_group(group_size, in_features):
    """The group size, where -1 stands for one group over all rows."""
    require_group_size(group_size)
    return in_features if group_size == -1 else operator.index(group_size)


def require_whole_words(name, size, bits):
    """`size` fields of `bits` bits must fill words: nothing is padded or cut."""
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise TypeError(f"{name} must be an integer, not {size!r}")
    pack_factor = WORD_BITS // bits
    if size < 1 or size % pack_factor:
        raise ValueError(f"{name} must be a positive multiple of {pack_factor}, not {size}")


def require_tensor(name, value, rank, dtypes):
    require_tensors(**{name: value})
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be strided, not {value.layout}")
    if value.dtype not in dtypes:
        raise TypeError(f"{name} must be {' or '.join(map(str, dtypes))}, not {value.dtype}")
    if rank is not None and value.dim() != rank:
        raise ValueError(f"{name} must have rank {rank}, its shape is {tuple(value.shape)}")


def require_tensors(**values):
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a tensor, not {type(value).__name__}")


def in_memory(tensor):
    """The tensor, whose bytes are its values: torch's zero tensors and lazily negated ones not."""
    return tensor.clone() if tensor._is_zerotensor() else tensor.resolve_neg()


def require_device(name, tensor, device):
    if tensor.device != device:
        raise ValueError(f"{name} must be on {device} like the rest, it is on {tensor.device}")


def sizes_of_weights(qweight, qzeros, scales, g_idx, bits):
    """[K // pack_factor, N], [G, N // pack_factor], [G, N], [K] -> K, N, G; values are not read."""
    require_bits(bits)
    require_tensor("qweight", qweight, 2, (torch.int32,))
    require_tensor("qzeros", qzeros, 2, (torch.int32,))
    require_tensor("scales", scales, 2, FLOATS)
    require_tensor("g_idx", g_idx, 1, (torch.int32,))
    pack_factor = WORD_BITS // bits
    K, N, G = qweight.shape[0] * pack_factor, qweight.shape[1], scales.shape[0]
    require_whole_words("the number of qweight's rows of codes", K, bits)
    require_whole_words("the number of qweight's columns", N, bits)
    if G < 1:
        raise ValueError(f"scales must hold at least one group, its shape is {tuple(scales.shape)}")
    wanted = {"qzeros": (G, N // pack_factor), "scales": (G, N), "g_idx": (K,)}
    for name, tensor in (("qzeros", qzeros), ("scales", scales), ("g_idx", g_idx)):
        if tuple(tensor.shape) != wanted[name]:
            raise ValueError(
                f"{name} must have shape {wanted[name]} for qweight {tuple(qweight.shape)}, scales "
                f"{tuple(scales.shape)} and {bits} bits, its shape is {tuple(tensor.shape)}"
            )
        require_device(name, tensor, qweight.device)
    return K, N, G


def sequential_g_idx(qweight, scales, bits, group_size):
    """g_idx [K] of groups that follow each other; needs a group size unless there is one group."""
    require_bits(bits)
    require_tensor("qweight", qweight, 2, (torch.int32,))
    require_tensor("scales", scales, 2, FLOATS)
    K, G = qweight.shape[0] * WORD_BITS // bits, scales.shape[0]
    if group_size is None and G != 1:
        raise ValueError(f"without g_idx, group_size is needed for {G} groups")
    rows = rows_per_group(-1 if group_size is None else group_size, K)
    groups = -(-K // rows)
    if groups != G:
        raise ValueError(f"{K} rows in groups of {rows} are {groups} groups, not {G}")
    return torch.arange(K, device=qweight.device, dtype=torch.int32) // rows


def require_activations(name, x, columns, device):
    """[..., columns], float16 or bfloat16, of rank 1 or more."""
    require_tensor(name, x, None, ACTIVATION_DTYPES)
    if x.dim() == 0 or x.shape[-1] != columns:
        raise ValueError(
            f"the last dimension of {name} must be {columns}, its shape is {tuple(x.shape)}"
        )
    require_device(name, x, device)


def require_castable(name, tensor, dtype, to_zero=False):
    """No finite value may become infinite in `dtype`, nor 0 unless `to_zero` allows it."""
    cast = tensor.to(dtype)
    lost = tensor.isfinite() & ~cast.isfinite()
    if not to_zero:
        lost |= (tensor != 0) & (cast == 0)
    if lost.any():
        raise ValueError(f"{name} must fit {dtype}, {tensor[lost][0].item():g} does not")


def require_bias(bias, N, device):
    if bias is None:
        return
    require_tensor("bias", bias, 1, REALS)
    if bias.shape[0] != N:
        raise ValueError(f"bias must have shape ({N},), its shape is {tuple(bias.shape)}")
    require_device("bias", bias, device)


def require_launchable(device, interpreted):
    """Triton compiles for GPUs; CPU tensors are for its interpreter."""
    if device.type == "cuda" or (device.type == "cpu" and interpreted):
        return
    raise ValueError(
        f"the operands are on {device}, the kernel needs a CUDA device; on a CPU, set "
        "TRITON_INTERPRET=1 before the kernels are imported"
    )


def require_group_indices(g_idx, G, name="g_idx"):
    """Every value of g_idx must lie in [0, G).

    Reading them waits for the device, so the verdict is kept for as long as the tensor lives and
    is not written to. (Later writes to an inference tensor are not noticed here; the kernel still
    reads nothing out of bounds and its output is NaN.)
    """
    state = state_of(g_idx), G
    if _checked_g_idx.get(g_idx) == state:
        return
    require_no_capture("the values of g_idx are not checked yet: call the layer once", g_idx.device)
    low, high = torch.stack(torch.aminmax(g_idx)).tolist()
    if low < 0 or high >= G:
        raise ValueError(f"{name} must lie in [0, {G}), its values go from {low} to {high}")
    _checked_g_idx[g_idx] = state


def require_output(out, x, columns, operands):
    """out [..., columns] like x, without two elements, or an operand, in the same memory."""
    require_tensor("out", out, None, (x.dtype,))
    shape = (*x.shape[:-1], columns)
    if tuple(out.shape) != shape:
        raise ValueError(f"out must have shape {shape}, its shape is {tuple(out.shape)}")
    require_device("out", out, x.device)
    if out.is_neg() or out._is_zerotensor():
        raise ValueError("out must be memory to write to, not lazily negated nor torch's zero")
    if out.requires_grad:
        raise ValueError("out must not require a gradient")
    if _overlaps_itself(out):
        raise ValueError(f"elements of out share memory: shape {shape}, strides {out.stride()}")
    for name, operand in operands.items():
        start, end = _memory(operand)
        if max(start, _memory(out)[0]) < min(end, _memory(out)[1]):
            raise ValueError(f"out lies in the memory of {name}")


def _overlaps_itself(tensor):
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return tensor.numel() > 0
        reach += stride * (size - 1)
    return False


def _memory(tensor):
    """First byte and one past the last byte that the tensor reaches."""
    start = tensor.data_ptr()
    if tensor.numel() == 0:
        return start, start
    last = sum(
        stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )
    return start, start + (last + 1) * tensor.element_size()


def has_data(tensor):
    """False for tensors whose values cannot be read: meta and fake ones."""
    return tensor.device.type != "meta" and not torch._subclasses.fake_tensor.is_fake(tensor)


def state_of(tensor):
    """Equal while a living tensor is the same memory and nothing is written to it.

    Writes count as torch counts them: not those through `tensor.data`, nor any to an inference
    tensor.
    """
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tuple(tensor.shape), tensor.stride()


def remembered(known, tensor, read, *more):
    """What `read()` gave for a tensor as it is now, and for `more` that it depends on.

    Kept in `known`, a WeakTensorKeyDictionary, for as long as the tensor lives and is not written
    to. None where that cannot be told (inference tensors), where there are no values, and where a
    CUDA graph is captured, since `read` waits for the device.
    """
    if tensor.is_inference() or not has_data(tensor):
        return None
    state = state_of(tensor), *more
    found = known.get(tensor)
    if found is None or found[0] != state:
        if is_capturing(tensor.device):
            return None
        found = known[tensor] = state, read()
    return found[1]


def is_capturing(device=None):
    """Whether a CUDA graph records what happens on a device, by default on the current one.

    Then nothing may wait for the device, and no value can be read.
    """
    on_gpu = torch.cuda.is_available() if device is None else device.type == "cuda"
    return on_gpu and torch.cuda.is_current_stream_capturing()


def require_no_capture(advice, device=None):
    """`advice`: what is missing for a capture, and what to do before it."""
    if is_capturing(device):
        raise RuntimeError(f"a CUDA graph is being captured and {advice} before the capture")


def autocast(x):
    """x in the dtype of the enclosing autocast region; as it is outside of one."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and x.dtype in FLOATS:
        return x.to(torch.get_autocast_dtype(kind))
    return x
