import platform

from llmhub.runtime.malloc import configure_malloc


def test_glibc_is_told_and_others_are_left_alone():
    assert configure_malloc() == (platform.libc_ver()[0] == "glibc")
