/*
 * Runs a fuzz main without libFuzzer: over every file of a corpus directory, and over N
 * mutations of each, which are the same in every run. So `make check` tries each parser with
 * thousands of broken inputs in a second; `make fuzz` does the long work with libFuzzer.
 *
 *   fuzz_x DIRECTORY [MUTATIONS]      (default: $srcdir/tests/fuzz/corpus/x, 2000 or what the
 *                                     fuzz main's fuzz_mutations() says)
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
long fuzz_mutations(void) __attribute__((weak));

/* xorshift: the same numbers everywhere. */
static uint32_t
chance(uint32_t *state, uint32_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state % below;
}

/* One change of data[0 .. n), which has room for INPUT_MAX octets. Returns the new length. */
static size_t
mutate(uint8_t *data, size_t n, uint32_t *state)
{
    static const uint8_t odd[] = {0,   1,   9,   '\n', '\r', ' ',  '"',  '\\', '(', ')', '{',
                                  '}', '[', ']', '*',  ',',  ':',  '0',  '9',  '&', '-', '%',
                                  ';', '=', '?', '<',  '>',  0x7f, 0x80, 0xc3, 0xff};
    size_t at = n > 0 ? chance(state, (uint32_t)n) : 0, len;

    switch (chance(state, 6)) {
    case 0: /* another octet */
        if (n > 0)
            data[at] = (uint8_t)chance(state, 256);
        return n;
    case 1: /* one that means something */
        if (n > 0)
            data[at] = odd[chance(state, sizeof odd)];
        return n;
    case 2: /* put in */
        if (n >= INPUT_MAX)
            return n;
        memmove(data + at + 1, data + at, n - at);
        data[at] = odd[chance(state, sizeof odd)];
        return n + 1;
    case 3: /* cut out */
        len = n > at ? 1 + chance(state, (uint32_t)(n - at < 8 ? n - at : 8)) : 0;
        memmove(data + at, data + at + len, n - at - len);
        return n - len;
    case 4: /* doubled */
        len = n > at ? 1 + chance(state, (uint32_t)(n - at < 64 ? n - at : 64)) : 0;
        if (n + len > INPUT_MAX)
            return n;
        memmove(data + at + len, data + at, n - at);
        return n + len;
    default: /* cut off */
        return chance(state, 8) == 0 ? at : n;
    }
}

/* The input in memory of exactly its size, so that a sanitizer sees every octet too far. */
static void
run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void
run_file(const char *path, long mutations)
{
    static uint8_t seed[INPUT_MAX], data[INPUT_MAX];
    uint32_t state = 2463534242u;
    size_t n, m;
    unsigned k;
    long i;
    FILE *f = fopen(path, "rb");

    if (f == NULL) {
        perror(path);
        exit(1);
    }
    n = fread(seed, 1, sizeof seed, f);
    fclose(f);
    run(seed, n);
    for (i = 0; i < mutations; i++) {
        memcpy(data, seed, n);
        m = n;
        for (k = 1 + chance(&state, 6); k > 0; k--)
            m = mutate(data, m, &state);
        run(data, m);
    }
}

/* The corpus of a program called .../fuzz_x. */
static void
default_directory(const char *program, char *out, size_t size)
{
    const char *srcdir = getenv("srcdir"), *name = strstr(program, "fuzz_");
    const char *next;

    while (name != NULL && (next = strstr(name + 1, "fuzz_")) != NULL)
        name = next;
    snprintf(out, size, "%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : ".",
             name != NULL ? name + 5 : "");
}

int
main(int argc, char **argv)
{
    char directory[2048], path[4096];
    long mutations = fuzz_mutations != NULL ? fuzz_mutations() : 2000;
    const struct dirent *e;
    int files = 0;
    DIR *d;

    if (argc > 2)
        mutations = strtol(argv[2], NULL, 10);
    if (argc > 1)
        snprintf(directory, sizeof directory, "%s", argv[1]);
    else
        default_directory(argv[0], directory, sizeof directory);
    d = opendir(directory);
    if (d == NULL) {
        perror(directory);
        return 1;
    }
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        run_file(path, mutations);
        files++;
    }
    closedir(d);
    printf("%d seeds, %ld mutations of each\n", files, mutations);
    return files > 0 ? 0 : 1;
}
