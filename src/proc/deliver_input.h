/*
 * The standard input of mansio-deliver: a message, as a source for the store. Private to
 * src/proc.
 */
#ifndef PROC_DELIVER_INPUT_H
#define PROC_DELIVER_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/io.h"

#define INPUT_BLOCK   65536 /* of the beginning that is looked at */
#define INPUT_ID_SIZE 256

/* What the beginning of a message says. */
struct input_head {
    size_t skip;                    /* octets of an mbox "From " line, which isn't stored */
    bool return_path;               /* the first field is Return-Path: */
    char message_id[INPUT_ID_SIZE]; /* for the log, of printable ASCII; "-" if none */
};
void input_look(const char *p, size_t n, struct input_head *out);

struct input {
    struct source source; /* first */
    int fd;
    struct input_head head;
    char *block; /* INPUT_BLOCK octets: the beginning, read ahead */
    size_t len, at;
    bool ended;
    bool started; /* octets were given out */
    bool is_file; /* a regular file: nobody feeds it */
    pid_t feeder; /* our parent at input_prepare() */
};

/* First of all. Takes note of our parent, and catches SIGTERM, SIGINT and SIGHUP, unless they
   are ignored, from here on: reading ends with ERR_TEMP then, and input_give_up() is true. */
void input_prepare(void);
/* Reads the beginning. 0, ERR_EOF (nothing came at all), ERR_TIMEOUT (nothing came for ten
   minutes), ERR_TEMP (a signal), ERR_IO. In any case input_close(). */
int input_open(struct input *in, int fd);
void input_close(struct input *in);
/* A struct delivery's give_up(), ctx = struct input: a signal came, or whoever feeds us has
   died, so that this may be half of a message, and nobody takes our exit status. */
bool input_give_up(void *ctx);

#endif
