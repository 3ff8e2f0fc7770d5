"""Tables of many megabytes keep what is in them as they grow, also where the system moves no more
than one area of memory at a time."""

from types import ModuleType

import pytest

from tests.probe import CHECKOUT, compiled

MEBIBYTE = 1024 * 1024

PROGRAM = '''
from libc.stdint cimport uint8_t
from libc.string cimport memset

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/mman.h>
    static int refuses = 0;
    /* Linux before 6.17, and an area that has grown before: the place is cleared for nothing. */
    static void *moved(void *at, size_t size, size_t wanted, int flags, void *place)
    {
        if (!refuses)
            return mremap(at, size, wanted, flags, place);
        munmap(place, wanted);
        errno = EFAULT;
        return MAP_FAILED;
    }
    #define mremap moved
    """
    int refuses

cdef extern from "pages.h" nogil:
    void* pages_grow(void* at, size_t size, size_t wanted)
    void pages_free(void* at, size_t size)

def keeps(size_t size_max, bint refused):
    """Double a table up to a size; each half that is new is zero, and is filled."""
    global refuses
    cdef size_t size = 0, wanted = 64 * 1024, i
    cdef uint8_t* table = NULL
    cdef uint8_t fill = 0
    refuses = refused
    kept = True
    while wanted <= size_max:
        table = <uint8_t*>pages_grow(table, size, wanted)
        for i in range(size, wanted):
            kept = kept and table[i] == 0
        fill += 1
        memset(table + size, fill, wanted - size)
        size, wanted = wanted, wanted * 2
    while fill > 1:
        for i in range(size // 2, size):
            kept = kept and table[i] == fill
        size //= 2
        fill -= 1
    pages_free(table, wanted // 2)
    return kept
'''


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    headers = CHECKOUT / "fastilp" / "_core"
    return compiled(
        f"# distutils: include_dirs = {headers}\n{PROGRAM}", tmp_path_factory.mktemp("pages")
    )


@pytest.mark.parametrize("refused", [False, True])
def test_what_is_in_a_table_outlives_its_growth(probe: ModuleType, refused: bool) -> None:
    assert probe.keeps(16 * MEBIBYTE, refused)
