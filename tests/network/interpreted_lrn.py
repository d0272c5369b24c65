"""Runs the LRN kernels on the CPU in Triton's interpreter, for test_lrn_triton.py.

    TRITON_INTERPRET=1 python tests/network/interpreted_lrn.py CASES.pt RESULTS.pt

Triton reads the variable when a kernel is defined, so this is a process of its own.
"""

import sys

import torch

from alexnet_tk.network.lrn_triton import fused_local_response_norm, launched_local_response_norm


def main(cases_path: str, results_path: str) -> None:
    """Forward and backward of each case, in both ways, then torch's own checks of the operator."""
    results = []
    for x, grad, *constants in torch.load(cases_path, weights_only=True):
        x.requires_grad_()
        y = fused_local_response_norm(x, *constants)
        (dx,) = torch.autograd.grad(y, x, grad)
        results.append((y.detach(), dx))
        launched = launched_local_response_norm(x, *constants)
        assert torch.equal(launched, y)
        assert torch.equal(torch.autograd.grad(launched, x, grad)[0], dx)
    torch.save(results, results_path)

    x = torch.randn(1, 6, 1, 1, dtype=torch.float64, requires_grad=True)
    for n, towers, beta in ((5, 2, 0.75), (3, 1, 0.6), (1, 2, 0.75)):
        assert torch.autograd.gradcheck(
            lambda x, n=n, towers=towers, beta=beta: fused_local_response_norm(x, n, 0.5, beta, 2.0, towers),
            (x,),
        )
    checks = torch.library.opcheck(
        fused_local_response_norm,
        (torch.randn(2, 6, 3, 3, requires_grad=True), 5, 0.3, 0.75, 2.0, 2),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    assert set(checks.values()) == {"SUCCESS"}
    with torch.no_grad():
        for operator in (fused_local_response_norm, launched_local_response_norm):
            assert operator(x, 5, 0.5, 0.75, 2.0, 2).grad_fn is None


if __name__ == "__main__":
    main(*sys.argv[1:])
