/* LD_PRELOAD: a disk that misbehaves while files exist in the directory FASTILP_TEST_DISK.
 *
 *   stall        fdatasync waits until the file is gone
 *   sync-eio     fdatasync fails with EIO
 *   write-enospc data pages cannot be written (ENOSPC)
 *   write-eio    the same with EIO
 *   meta-eio     only short writes fail, which are LMDB's meta pages: it then refuses everything
 *   full         fallocate fails with ENOSPC
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name, type, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define PAGE 4096

static int flag(const char *name)
{
    const char *directory = getenv("FASTILP_TEST_DISK");
    char path[4096];

    if (directory == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static int fails(int with)
{
    errno = with;
    return -1;
}

static int write_fault(size_t size)
{
    if (size >= PAGE && flag("write-enospc"))
        return ENOSPC;
    if (size >= PAGE && flag("write-eio"))
        return EIO;
    return size < PAGE && flag("meta-eio") ? EIO : 0;
}

int fdatasync(int fd)
{
    while (flag("stall"))
        usleep(2000);
    if (flag("sync-eio"))
        return fails(EIO);
    return REAL("fdatasync", int, int)(fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    int fault = write_fault(size);

    return fault ? fails(fault)
                 : REAL("pwrite", ssize_t, int, const void *, size_t, off_t)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return pwrite(fd, data, size, at);
}

static size_t total(const struct iovec *parts, int count)
{
    size_t size = 0;

    while (count-- > 0)
        size += parts[count].iov_len;
    return size;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    int fault = write_fault(total(parts, count));

    return fault ? fails(fault)
                 : REAL("writev", ssize_t, int, const struct iovec *, int)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    int fault = write_fault(total(parts, count));

    return fault ? fails(fault)
                 : REAL("pwritev", ssize_t, int, const struct iovec *, int, off_t)(fd, parts,
                                                                                    count, at);
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return flag("full") ? fails(ENOSPC)
                        : REAL("fallocate", int, int, int, off_t, off_t)(fd, mode, at, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size)
{
    return fallocate(fd, mode, at, size);
}
