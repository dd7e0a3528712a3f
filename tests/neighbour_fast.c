/*
 * neighbour_fast LETTER DIRECTORY...: a program that changes flags faster than anybody looks,
 * for tests/neighbours.py. In bursts it lists one of the directories (cur/ of a folder) and
 * sets or clears LETTER in the names that it saw, by rename() from the full name. So listings
 * of others miss files, and names are out of date when they are used.
 *
 * Works from a line "go SEED" on the standard input until the next line; then prints what it
 * left behind, a line "1 base" or "0 base" for each message, and a line ".". Ends with its
 * input.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAMES_MAX 1000
#define SLOTS     16384 /* messages of one run */

static struct {
    char names[NAMES_MAX][256];
    size_t count;
    struct {
        char base[256];
        bool set;
    } known[SLOTS];
} fast;

static void
note(const char *name, size_t base_len, bool set)
{
    uint32_t hash = 5381;
    size_t i;

    for (i = 0; i < base_len; i++)
        hash = hash * 33 + (unsigned char)name[i];
    for (i = 0; i < SLOTS; i++, hash++) {
        char *base = fast.known[hash % SLOTS].base;

        if (base[0] == '\0')
            memcpy(base, name, base_len);
        if (strncmp(base, name, base_len) != 0 || base[base_len] != '\0')
            continue;
        fast.known[hash % SLOTS].set = set;
        return;
    }
}

static void
list(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *e;

    fast.count = 0;
    while (d != NULL && fast.count < NAMES_MAX && (e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.')
            snprintf(fast.names[fast.count++], 256, "%s", e->d_name);
    }
    if (d != NULL)
        closedir(d);
}

/* Letters stay sorted, as every program keeps them. */
static void
toggle(int fd, const char *name, char letter)
{
    const char *info = strstr(name, ":2,"), *p;
    size_t base_len = info != NULL ? (size_t)(info - name) : strlen(name), n = base_len;
    bool had = false, done = false;
    char to[300];

    memcpy(to, name, base_len);
    memcpy(to + n, ":2,", 3);
    n += 3;
    for (p = info != NULL ? info + 3 : ""; *p != '\0'; p++) {
        if (*p == letter) {
            had = true;
            continue;
        }
        if (!done && !had && (*p == ',' || *p > letter)) {
            to[n++] = letter;
            done = true;
        }
        to[n++] = *p;
    }
    if (!had && !done)
        to[n++] = letter;
    to[n] = '\0';
    if (n < 256 && renameat(fd, name, fd, to) == 0)
        note(name, base_len, !had);
}

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* true: there's a line to be read. */
static bool
asked(int milliseconds)
{
    struct pollfd p = {.fd = 0, .events = POLLIN};

    return poll(&p, 1, milliseconds) != 0;
}

static void
work(int count, char **directories, char letter, unsigned seed)
{
    int64_t end;
    size_t i;
    int fd;

    while (!asked((int)(rand_r(&seed) % 200))) {
        fd = open(directories[rand_r(&seed) % (unsigned)count], O_RDONLY | O_DIRECTORY);
        if (fd < 0)
            continue;
        end = now_ms() + 20 + rand_r(&seed) % 250;
        while (now_ms() < end && !asked(0)) {
            list(fd);
            for (i = 0; i < fast.count; i++) {
                if (rand_r(&seed) % 2 == 0)
                    toggle(fd, fast.names[i], letter);
            }
        }
        close(fd);
    }
}

static void
print(void)
{
    size_t i;

    for (i = 0; i < SLOTS; i++) {
        if (fast.known[i].base[0] != '\0')
            printf("%d %s\n", fast.known[i].set, fast.known[i].base);
    }
    printf(".\n");
    fflush(stdout);
    memset(fast.known, 0, sizeof fast.known);
}

int
main(int argc, char **argv)
{
    char line[64];
    unsigned seed;

    setvbuf(stdin, NULL, _IONBF, 0);
    while (argc > 2 && fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "go %u", &seed) == 1)
            work(argc - 2, argv + 2, argv[1][0], seed);
        else
            print();
    }
    return 0;
}
