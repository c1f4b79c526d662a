"""Launches of `wgmma_kernel`, and whether a GPU and its Triton can do so."""

import importlib
import warnings

import torch
import triton

from .. import checks, packing
from .plan import TILES, Plan, wgmma_stages
from .weights import UniformWeights

CAPABILITY = 9  # major: the instructions are Hopper's
ALIGNMENT = 16  # bytes: where TMA reads from, and between rows
LEAST_ZEROS = 32  # words of zero-points of a step: 128 bytes, between whose multiples TMA writes
COLUMNS = 64  # of a warpgroup
PANEL = 32  # columns, whose words are 128 bytes
BLOCKS_IN_BAND = 8
REGISTERS = 2**16  # of an SM
LOADER = 24  # of a thread that loads: what it may have, by groups of 128 threads

_usable = {}  # device -> bool


def takes(x, qweight, scales, qzeros):
    """Whether TMA can read such weights, and the kernel multiply them with such an x."""
    if x.dtype != scales.dtype or qweight.shape[1] % PANEL or not usable(x.device):
        return False
    return all(
        tensor.data_ptr() % ALIGNMENT == 0
        and tensor.stride(0) * tensor.element_size() % ALIGNMENT == 0
        for tensor in (qweight, scales, qzeros)
    )


def usable(device):
    """Whether the kernel runs on a device and computes there what it should.

    Gluon is experimental: another version of Triton may have another. So the first call on a device
    multiplies once, and warns where that fails. While a CUDA graph is recorded, nothing is tried.
    """
    known = _usable.get(device)
    if known is None:
        if device.type != "cuda" or torch.cuda.get_device_capability(device)[0] != CAPABILITY:
            known = False
        elif checks.is_capturing(device):
            return False
        else:
            known = _works(device)
        _usable[device] = known
    return known


def reads(x):
    """Whether TMA can read such an x [M, K], whose rows have whole vectors."""
    beside = x.stride(1) == 1 and x.stride(0) * x.element_size() % ALIGNMENT == 0
    return beside and x.stride(0) >= x.shape[1] and x.data_ptr() % ALIGNMENT == 0


def launch(weights, x, out, parts, arrived, chosen, after_sort=False):
    """x [M, K], columns sorted as the rows of the weights, times these -> contiguous out [M, N].

    More than one share of K wants parts [shares, M, N] float32 and `counters` counters.
    `after_sort`: the launch before is the one that has sorted x.
    """
    given = arguments(weights, x, out, parts, arrived, chosen)
    _kernel()[chosen.grid(*out.shape)](*given, **options(weights, chosen, after_sort))


def compiled(weights, x, out, parts, arrived, chosen, after_sort=False):
    """(kernel, all arguments) of a launch that has been made with such arguments."""
    given = arguments(weights, x, out, parts, arrived, chosen)
    rest = options(weights, chosen, after_sort)
    kernel = _kernel().warmup(*given, **rest, grid=chosen.grid(*out.shape))
    names = _kernel().arg_names[len(given) :]
    return kernel, (*given, *(rest[name] for name in names))


def counters(M, N, chosen):
    """One for each 64 columns of a block of the output."""
    return chosen.grid(M, N)[0] * (chosen.tile.columns // COLUMNS)


def arguments(weights, x, out, parts, arrived, chosen):
    (M, K), N, block_k = x.shape, out.shape[1], chosen.block_k
    columns, fields, qweight = chosen.tile.columns, weights.fields, weights.qweight
    words, _ = qweight.shape
    panels = qweight.as_strided((N // PANEL, words, PANEL), (PANEL, qweight.stride(0), 1))
    return (
        described(x, (chosen.tile.rows, block_k), 128),
        described(panels, (columns // PANEL, block_k // fields, PANEL), 128),
        described(weights.scales, (1, columns), 0),
        described(weights.qzeros, (1, max(columns // fields, LEAST_ZEROS)), 0),
        out, parts, arrived, M, N // 8, K // block_k, weights.rows_per_group,
    )  # fmt: skip


def options(weights, chosen, after_sort):
    """Constants of the kernel, and how it is compiled."""
    tile, block_k, shares = chosen
    warpgroups = tile.columns // COLUMNS
    # Loaders count as a warpgroup, and leave to the others what they do not need.
    registers = REGISTERS // (128 * (warpgroups + 1) * tile.per_sm) // 8 * 8
    multiplier = ((warpgroups + 1) * registers - LOADER) // warpgroups // 8 * 8
    return {
        "BITS": weights.bits,
        "SHARES": shares,
        "SCALED": tile.scaled,
        "BLOCK_SIZE_M": tile.rows,
        "BLOCK_SIZE_K": block_k,
        "STAGES": wgmma_stages(tile, block_k, weights.bits),
        "WARPGROUPS": warpgroups,
        "MULTIPLIER": multiplier,
        "BLOCKS_IN_BAND": BLOCKS_IN_BAND,
        "num_warps": 4,
        "maxnreg": registers if tile.per_sm > 1 else None,
        "AFTER_SORT": after_sort,
        "launch_pdl": True,  # begins before the launch before has ended
    }


def described(tensor, block, swizzle):
    """What TMA reads: blocks of a tensor, `swizzle` bytes wide, or of any width if 0."""
    gluon = importlib.import_module("triton.experimental.gluon")
    host = importlib.import_module("triton.experimental.gluon.nvidia.hopper")
    layout = gluon.language.NVMMASharedLayout(
        swizzle_byte_width=swizzle, element_bitwidth=8 * tensor.element_size(), rank=tensor.ndim
    )
    return host.TensorDescriptor(
        tensor, list(tensor.shape), list(tensor.stride()), list(block), layout
    )


def _kernel():
    return importlib.import_module(".wgmma_kernel", __package__).wgmma_kernel


def _works(device):
    try:
        if not _is_right(device):
            raise ArithmeticError("a product of whole numbers was wrong")
    except Exception as error:  # noqa: BLE001 - whatever an experimental compiler raises
        warnings.warn(
            f"slower kernels multiply on {device}, because Gluon of Triton {triton.__version__} "
            f"does not serve: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def _is_right(device):
    """One product, of whole numbers that no format rounds."""
    M, N, K, bits, group = 20, 128, 256, 4, 128
    numbers = torch.arange(K * N, device=device)
    codes, zeros = (numbers * 5 % 16).view(K, N), (numbers * 3 % 16)[: K // group * N].view(-1, N)
    x = (numbers[: M * K] * 7 % 9 - 4).view(M, K).half()
    weights = UniformWeights(
        packing.pack_fields(codes, bits),
        torch.ones_like(zeros, dtype=torch.float16),
        packing.pack_fields(zeros.T, bits).T.contiguous(),
        bits,
        group,
        None,
    )
    out = torch.empty((M, N), dtype=torch.float16, device=device)
    launch(weights, x, out, out, out, Plan(TILES["wgmma64x128"], group, 1))
    points = (zeros + packing.ZERO_OFFSET) % 2**bits
    expected = x.double() @ (codes - points.repeat_interleave(group, 0)).double()
    return torch.equal(out, expected.half())
