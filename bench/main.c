/*
 * mansio-bench: the command line, the timer, and the printed figures; see bench.h.
 */
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

static const struct workload *const tables[] = {imap_workloads, change_workloads,
                                                pop3_workloads, many_workloads, idle_workloads};
#define TABLES (sizeof tables / sizeof tables[0])

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* CPU seconds that the server's control group has used, or < 0. */
static double
server_cpu(const struct target *t)
{
    char line[256];
    unsigned long long n;
    double seconds = -1;
    FILE *f = t->cpu_file != NULL ? fopen(t->cpu_file, "r") : NULL;

    if (f == NULL)
        return -1;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "usage_usec %llu", &n) == 1)
            seconds = (double)n / 1e6;
        else if (line[0] >= '0' && line[0] <= '9')
            seconds = strtod(line, NULL) / 1e9;
    }
    fclose(f);
    return seconds;
}

void
timer_start(const struct target *t, struct result *r)
{
    r->cpu = server_cpu(t);
    r->wall = now();
}

void
timer_stop(const struct target *t, struct result *r)
{
    double cpu;

    r->wall = now() - r->wall;
    cpu = server_cpu(t);
    r->cpu = cpu < 0 ? -1 : cpu - r->cpu;
}

/* Keeps the first fault of a run; several threads may find one. */
void
fault(struct result *r, const char *fmt, ...)
{
    va_list ap;

    pthread_mutex_lock(&fault_lock);
    if (r->fault[0] == '\0') {
        va_start(ap, fmt);
        vsnprintf(r->fault, sizeof r->fault, fmt, ap);
        va_end(ap);
    }
    pthread_mutex_unlock(&fault_lock);
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double
median(double *values, unsigned count)
{
    if (count == 0)
        return -1;
    qsort(values, count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static const struct workload *
find(const char *name)
{
    const struct workload *w;
    size_t i;

    for (i = 0; i < TABLES; i++)
        for (w = tables[i]; w->name != NULL; w++)
            if (strcmp(w->name, name) == 0)
                return w;
    return NULL;
}

/* name wall cpu ops value unit fault: tab-separated, "-" for what there isn't. */
static int
run(const struct target *t, const char *name)
{
    const struct workload *w = find(name);
    struct result r = {.cpu = -1, .value = -1};

    if (w == NULL) {
        fprintf(stderr, "mansio-bench: no workload %s (-l lists them)\n", name);
        return 64;
    }
    w->run(t, &r);
    if (r.not_offered && r.fault[0] == '\0') {
        printf("%s\t-\t-\t-\t-\t-\tn/a\n", name);
        return 0;
    }
    printf("%s\t%.6f\t%.6f\t%llu\t%.3f\t%s\t%s\n", name, r.wall, r.cpu,
           (unsigned long long)r.ops, r.value, r.unit != NULL ? r.unit : "-",
           r.fault[0] != '\0' ? r.fault : "ok");
    fflush(stdout);
    return r.fault[0] != '\0';
}

static void
list(void)
{
    const struct workload *w;
    size_t i;

    for (i = 0; i < TABLES; i++)
        for (w = tables[i]; w->name != NULL; w++)
            printf("%-16s %s\n", w->name, w->help);
}

static int
usage(void)
{
    fprintf(stderr, "usage: mansio-bench -l | --make-maildir DIR COUNT |\n"
                    "       mansio-bench [--host A] [--imap P] [--imaps P] [--pop3 P] [--pop3s "
                    "P] [--user U]\n"
                    "           [--users PREFIX] [--password W] [--messages N] [--connections "
                    "N] [--maildir DIR]\n"
                    "           [--mail DIR] [--cpu FILE] WORKLOAD ...\n");
    return 64;
}

enum {
    O_HOST = 1,
    O_IMAP,
    O_IMAPS,
    O_POP3,
    O_POP3S,
    O_USER,
    O_USERS,
    O_PASSWORD,
    O_MESSAGES,
    O_CONNECTIONS,
    O_MAIL,
    O_MAILDIR,
    O_CPU,
    O_MAKE
};

static const struct option options[] = {{"host", 1, NULL, O_HOST},
                                        {"imap", 1, NULL, O_IMAP},
                                        {"imaps", 1, NULL, O_IMAPS},
                                        {"pop3", 1, NULL, O_POP3},
                                        {"pop3s", 1, NULL, O_POP3S},
                                        {"user", 1, NULL, O_USER},
                                        {"users", 1, NULL, O_USERS},
                                        {"password", 1, NULL, O_PASSWORD},
                                        {"messages", 1, NULL, O_MESSAGES},
                                        {"connections", 1, NULL, O_CONNECTIONS},
                                        {"mail", 1, NULL, O_MAIL},
                                        {"maildir", 1, NULL, O_MAILDIR},
                                        {"cpu", 1, NULL, O_CPU},
                                        {"make-maildir", 1, NULL, O_MAKE},
                                        {NULL, 0, NULL, 0}};

static unsigned
number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

static void
set_option(struct target *t, int option, const char *value)
{
    switch (option) {
    case O_HOST:
        t->host = value;
        break;
    case O_IMAP:
        t->imap_port = (int)number(value);
        break;
    case O_IMAPS:
        t->imaps_port = (int)number(value);
        break;
    case O_POP3:
        t->pop3_port = (int)number(value);
        break;
    case O_POP3S:
        t->pop3s_port = (int)number(value);
        break;
    case O_USER:
        t->user = value;
        break;
    case O_USERS:
        t->user_pattern = value;
        break;
    case O_PASSWORD:
        t->password = value;
        break;
    case O_MESSAGES:
        t->messages = number(value);
        break;
    case O_CONNECTIONS:
        t->connections = number(value);
        break;
    case O_MAIL:
        t->mail = value;
        break;
    case O_MAILDIR:
        t->maildir = value;
        break;
    case O_CPU:
        t->cpu_file = value;
        break;
    }
}

int
main(int argc, char **argv)
{
    struct target t = {
        .host = "127.0.0.1", .user = "bench", .password = "bench", .connections = 500};
    struct rlimit files;
    const char *make = NULL;
    int option, status = 0;

    while ((option = getopt_long(argc, argv, "l", options, NULL)) != -1) {
        if (option == 'l') {
            list();
            return 0;
        }
        if (option == '?')
            return usage();
        if (option == O_MAKE)
            make = optarg;
        set_option(&t, option, optarg);
    }
    if (optind >= argc)
        return usage();
    if (make != NULL)
        return mail_make_maildir(make, number(argv[optind])) < 0 ? 1 : 0;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    gnutls_global_init();
    for (; optind < argc; optind++)
        status |= run(&t, argv[optind]);
    return status;
}
