/*
 * One slot a worker in shared memory, written by that worker alone, read by `mansioctl status`
 * and `who` through the master. Nothing is decided from it. Readers check the sequence word
 * (odd = being written).
 */
#ifndef PROC_SCOREBOARD_H
#define PROC_SCOREBOARD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct score {
    uint32_t sequence;
    uint8_t protocol, state; /* 'i' 'p' 'a' (auth) or 0 = free slot; enum session_state + 1, 0 =
                                idle worker */
    uint8_t tls;
    pid_t pid;
    int64_t since; /* of this state, seconds since 1970 */
    int64_t connected;
    uint64_t bytes_in, bytes_out, connections;
    char user[64], peer[64], command[24], session[16];
};

struct scoreboard;
struct scoreboard *scoreboard_new(size_t slots); /* anonymous shared memory; before any fork */
void scoreboard_free(struct scoreboard **b);
struct score *scoreboard_slot(struct scoreboard *b, size_t i);
size_t scoreboard_slots(const struct scoreboard *b);
/* A consistent copy, with NULs at the ends of all texts, and '?' for control characters and
   blanks in them. 0, or ERR_TEMP if the writer never stood still (or was killed inside). */
int scoreboard_read(const struct scoreboard *b, size_t i, struct score *copy);
void score_begin(struct score *s); /* the writer, around its changes */
void score_end(struct score *s);

#endif
