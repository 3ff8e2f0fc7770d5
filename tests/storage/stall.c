/* LD_PRELOAD: a disk that misbehaves while files exist in the directory FASTILP_TEST_DISK.
 *
 *   stall        fdatasync, and a write that is synced (O_DSYNC), wait until the file is gone
 *   sync-eio     they fail with EIO, the write when all has been written
 *   torn         a synced write of more than a page writes the first one alone, and fails with EIO
 *   no-direct    writes past the page cache (O_DIRECT) fail with EINVAL
 *   write-enospc data pages cannot be written (ENOSPC)
 *   write-eio    the same with EIO
 *   meta-eio     only short writes fail, which are LMDB's meta pages: it then refuses everything
 *   full         fallocate fails with ENOSPC
 *   late-wake    a thread beside the main one that writes to an eventfd loses the processor right
 *                after, until the file is gone: not a disk, but the same thread
 *
 * If `image` exists it is what the disk has of data.mdb: fdatasync brings it each page written
 * since the last one, and one that fails forgets which those were, as the kernel may. The same with
 * `image-journal` and the journal.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name, type, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define PAGE 4096
#define PAGES 65536

static char written[2][PAGES];
static const char *const IMAGES[] = {"image", "image-journal"};

static int flag_path(char *path, size_t size, const char *name)
{
    const char *directory = getenv("FASTILP_TEST_DISK");

    if (directory == NULL)
        return 0;
    snprintf(path, size, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static int flag(const char *name)
{
    char path[4096];

    return flag_path(path, sizeof path, name);
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

/* 0 for data.mdb, 1 for the journal, -1 for anything else. */
static int kind_of(int fd)
{
    char link[64], path[4096];
    ssize_t size;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    path[size > 0 ? size : 0] = 0;
    if (strstr(path, "/data.mdb"))
        return 0;
    return strstr(path, "/journal") ? 1 : -1;
}

static void note_written(int fd, off_t at, size_t size)
{
    size_t page = (size_t)at / PAGE, last = ((size_t)at + size - 1) / PAGE;
    int kind = kind_of(fd);

    for (; kind >= 0 && size && page <= last && page < PAGES; page++)
        written[kind][page] = 1;
}

/* Past the file's end a page reads short: what is missing are zeros. */
static void bring_to_image(int fd, int kind, const char *image_path)
{
    int image = open(image_path, O_WRONLY);

    for (off_t page = 0; page < PAGES; page++) {
        char bytes[PAGE] = {0};

        if (written[kind][page] && pread(fd, bytes, PAGE, page * PAGE) >= 0)
            REAL("pwrite", ssize_t, int, const void *, size_t, off_t)(image, bytes, PAGE,
                                                                      page * PAGE);
    }
    close(image);
}

int fdatasync(int fd)
{
    int kind = kind_of(fd), failing;
    char image_path[4096];

    while (flag("stall"))
        usleep(2000);
    failing = flag("sync-eio");
    if (kind >= 0) {
        if (!failing && flag_path(image_path, sizeof image_path, IMAGES[kind]))
            bring_to_image(fd, kind, image_path);
        memset(written[kind], 0, sizeof written[kind]);
    }
    return failing ? fails(EIO) : REAL("fdatasync", int, int)(fd);
}

static ssize_t pwrite_synced(int fd, const void *data, size_t size, off_t at)
{
    int torn = size > PAGE && flag("torn");
    ssize_t done;

    while (flag("stall"))
        usleep(2000);
    done = REAL("pwrite", ssize_t, int, const void *, size_t, off_t)(fd, data,
                                                                     torn ? PAGE : size, at);
    return torn || flag("sync-eio") ? fails(EIO) : done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    int fault = write_fault(size);

    note_written(fd, at, size);
    if (fault)
        return fails(fault);
    if (fcntl(fd, F_GETFL) & O_DIRECT && flag("no-direct"))
        return fails(EINVAL);
    if (kind_of(fd) == 1 && (fcntl(fd, F_GETFL) & O_DSYNC) == O_DSYNC)
        return pwrite_synced(fd, data, size, at);
    return REAL("pwrite", ssize_t, int, const void *, size_t, off_t)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return pwrite(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t done = REAL("write", ssize_t, int, const void *, size_t)(fd, data, size);

    while (size == sizeof(eventfd_t) && gettid() != getpid() && flag("late-wake"))
        usleep(2000);
    return done;
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

    note_written(fd, lseek(fd, 0, SEEK_CUR), total(parts, count));
    return fault ? fails(fault)
                 : REAL("writev", ssize_t, int, const struct iovec *, int)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    int fault = write_fault(total(parts, count));

    note_written(fd, at, total(parts, count));
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
