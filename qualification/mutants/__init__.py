"""Mutation: faulty versions of our code, each judged by the tests that concern its file.

python    kernels/ and gptq_fuzz/, by cosmic-ray      triton   functions under @triton.jit
cuda      patterns in kernels/exllama/ext             known    bugs that kernels in use had
site      where a fault can be put                    plans    which tests concern a file
judge     runs them on a scratch copy, within limits
"""
