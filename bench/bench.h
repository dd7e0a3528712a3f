/*
 * mansio-bench: drives any IMAP or POP3 server with fixed workloads, verifies every answer, and
 * prints one line of figures a workload. bench/README says how to read them; bench/compare.py
 * runs two servers side by side.
 *
 * Not part of the server: shares nothing with it, so that a fault of the server's own code
 * can't hide in the measuring.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What to drive, from the command line. */
struct target {
    const char *host;
    int imap_port, imaps_port, pop3_port, pop3s_port;
    const char *user, *password;
    const char *user_pattern; /* for many accounts: what comes before their number */
    const char *mail; /* that holds their Maildirs, <user>/Maildir; NULL: no deliveries there */
    const char
        *maildir; /* of `user`, for deliveries; NULL: workloads that deliver are left out */
    unsigned messages;    /* in INBOX, all made by mail_make() */
    unsigned connections; /* for idle and storm */
    const char *cpu_file; /* cpuacct.usage (ns) or cpu.stat (usage_usec) of the server's control
                             group, or NULL */
};

/* One run of a workload. */
struct result {
    double wall;  /* seconds of the timed part */
    double cpu;   /* seconds of the whole server, < 0 unknown */
    uint64_t ops; /* what was counted: logins, messages ... */
    double value; /* for workloads whose figure isn't a time: milliseconds or KB; < 0 none */
    const char *unit; /* of value */
    bool not_offered; /* the server hasn't the extension: n/a */
    char fault[160];  /* a wrong answer; "" if all were right */
};

struct workload {
    const char *name, *help;
    void (*run)(const struct target *t, struct result *r);
};
extern const struct workload imap_workloads[], change_workloads[], pop3_workloads[],
    many_workloads[], idle_workloads[];

/* Timed part: everything between the two is what counts. */
void timer_start(const struct target *t, struct result *r);
void timer_stop(const struct target *t, struct result *r);
double now(void);
void fault(struct result *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sorts them; -1 of none. */
double median(double *values, unsigned count);

/* The mail: message n (from 1) is the same octets everywhere. CRLF line ends; malloc. */
char *mail_make(unsigned n, size_t *len);
/* The octets and checksum of message n as it comes over the wire. */
uint64_t mail_sum(const char *data, size_t len);
uint64_t mail_sum_of(unsigned n, size_t *len);
/* Octets of messages 1 to count together. */
uint64_t mail_total(unsigned count);
/* What workloads append: SMALL_SIZE octets, always the same. */
#define SMALL_SIZE 4096
void mail_make_small(char data[SMALL_SIZE]);
/* Writes messages 1..count into a new Maildir (LF line ends, S= and W= in the names). */
int mail_make_maildir(const char *dir, unsigned count);
int mail_deliver(const char *maildir, unsigned n);

/* --- a client connection: client.c */
struct client {
    int fd;
    void *tls;
    char *in;
    size_t pos, len, cap;
    char *out;
    size_t out_len, out_cap;
    unsigned tag;
    bool broken;
};
enum service { SERVICE_IMAP, SERVICE_IMAPS, SERVICE_POP3, SERVICE_POP3S };
/* Connects and reads the greeting. resume: session data of an earlier connection for TLS
 * resumption (NULL none); *resumed tells. */
bool client_open(struct client *c, const struct target *t, enum service service, void **resume,
                 bool *resumed);
void client_close(struct client *c);
/* Makes the TLS session of a connected socket; the handshake is the caller's. */
void client_prepare_tls(struct client *c);
void client_put(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void client_put_bytes(struct client *c, const void *p, size_t n);
void client_flush(struct client *c);
/* A line without its CRLF, valid until the next call; NULL when the connection broke. */
char *client_line(struct client *c, size_t *len);
/* n octets, valid until the next call. */
char *client_bytes(struct client *c, size_t n);
/* Waits up to ms for input; true if there is some. */
bool client_wait(struct client *c, int ms);

/* --- IMAP on top: imap_client.c. What an answer held. */
struct answer {
    bool ok; /* tagged OK */
    uint32_t exists, expunged, fetched, statuses, hits;
    uint64_t fetch_sum; /* of the numbers of the messages fetched */
    uint32_t flagged;   /* FETCH items with FLAGS, and those with these flags */
    uint32_t flagged_seen, flagged_flagged;
    uint64_t hit_sum; /* of the numbers of SEARCH, SORT and THREAD */
    bool ordered;     /* they rose */
    uint32_t threads; /* at the top of THREAD */
    uint32_t status_messages;
    uint64_t literals, literal_octets;
    uint64_t
        structures; /* FETCH items with ENVELOPE and BODYSTRUCTURE of mail_make()'s message */
    uint64_t sizes; /* sum of RFC822.SIZE */
    uint32_t uidnext;
    char text[200]; /* of the tagged line */
};
typedef void literal_fn(void *ctx, const char *line, size_t line_len, const char *data,
                        size_t len);
/* Sends "tN <command>". */
unsigned imap_send(struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Reads up to the tagged answer; fn (may be NULL) sees each literal. */
void imap_wait(struct client *c, unsigned tag, struct answer *a, literal_fn *fn, void *ctx);
void imap_ask(struct client *c, struct answer *a, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* APPEND, with LITERAL+. */
void imap_append(struct client *c, struct answer *a, const char *mailbox, const char *data,
                 size_t len);
/* In IDLE: reads until so many messages exist; false if that isn't told within IDLE_PATIENCE_S
 * seconds. */
#define IDLE_PATIENCE_S 40 /* Dovecot polls each 30 s at worst */
bool imap_wait_exists(struct client *c, unsigned wanted);
bool imap_login(struct client *c, const struct target *t, const char *user);
/* Opens, logs in, selects INBOX (mailbox NULL: only logs in). Faults go to r. */
bool imap_start(struct client *c, const struct target *t, const char *mailbox,
                struct result *r);
bool imap_has(struct client *c, const char *capability);

/* --- checks of messages: imap_check.c */
struct sums {
    uint64_t *sum;
    size_t count, max; /* that came; that sum holds */
};
/* A literal_fn for struct sums. */
void keep_sum(void *ctx, const char *line, size_t line_len, const char *data, size_t len);
/* They should be those of mail_make()'s messages from `first` on, s->max of them. */
void check_sums(struct result *r, const struct answer *a, const struct sums *s, unsigned first);
/* Messages 1 to count of the selected mailbox should be mail_make()'s from `first` on. */
void check_mail(struct client *c, struct result *r, unsigned first, unsigned count);
/* Selects the mailbox, which should hold `count` times mail_make_small()'s message. */
void check_appended(struct client *c, struct result *r, const char *mailbox, unsigned count);

#endif
