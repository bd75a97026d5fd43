import platform

from llmhub.runtime.malloc import give_memory_back


def test_glibc_is_told_and_others_are_left_alone():
    assert give_memory_back() == (platform.libc_ver()[0] == "glibc")
