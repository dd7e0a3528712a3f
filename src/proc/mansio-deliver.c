/*
 * mansio-deliver(8): the delivery agent that a mail transfer agent starts for each message.
 * This is the command line; the work is in deliver.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "proc/deliver.h"
#include "proc/deliver_input.h"

#define USAGE                                                                                  \
    "usage: mansio-deliver [-CqsV] [-a address] [-c file] [-e characters] [-f sender] "        \
    "[-m folder] [-d] user"

/* What a mail transfer agent leaves us with is no reason to fail half-way. */
static void
prepare_process(void)
{
    struct rlimit limit;

    input_prepare();
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* EFBIG instead */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_FSIZE, &limit);
    }
}

/* Root that runs as another user for the moment (so fetchmail starts its mda) could become root
   again. As root it gives up all of it, in deliver.c. */
static void
be_all_of_root(void)
{
    if (getuid() == 0 && geteuid() != 0 && seteuid(0) != 0)
        log_fatal(DELIVER_TEMPORARY, "seteuid: %s", strerror(errno));
}

/* -1, or an exit status: nothing is to be delivered. */
static int
read_options(int argc, char **argv, struct deliver_options *o)
{
    int c;

    while ((c = getopt(argc, argv, "a:c:d:e:f:m:qsCV")) != -1) {
        switch (c) {
        case 'a':
            o->recipient = optarg;
            break;
        case 'c':
            o->conf_file = optarg;
            break;
        case 'd':
            o->user = optarg;
            break;
        case 'e':
            o->details = optarg;
            break;
        case 'f':
            o->sender = optarg;
            break;
        case 'm':
            o->folder = optarg;
            break;
        case 'q':
            o->bounce_full = true;
            break;
        case 's':
            o->strict = true;
            break;
        case 'C':
            o->create = true;
            break;
        case 'V':
            printf("mansio-deliver " PACKAGE_VERSION "\n");
            return DELIVER_OK;
        default:
            return deliver_fail(DELIVER_USAGE, "4.3.5", USAGE);
        }
    }
    if (o->user == NULL && optind < argc)
        o->user = argv[optind++];
    if (o->user == NULL || optind != argc)
        return deliver_fail(DELIVER_USAGE, "4.3.5", USAGE);
    return -1;
}

static bool ended; /* by the end of main(), with all said that is to be said */

/* An exit from deep inside, with a line in the log only: out of memory, ids that can't be set,
   a panic. Postfix would take some of these statuses for final. */
static void
last_word(void)
{
    if (!ended)
        fprintf(stderr, "4.3.0 mansio-deliver failed; see its log\n");
}

int
main(int argc, char **argv)
{
    struct deliver_options options = {.conf_file = SYSCONFDIR "/mansio.conf", .details = ""};
    int status;

    prepare_process();
    atexit(last_word);
    log_last_word = last_word;
    sys_init();
    log_open("syslog", "mansio-deliver");
    be_all_of_root();
    opterr = 0; /* one line, ours */
    status = read_options(argc, argv, &options);
    if (status < 0)
        status = deliver_run(&options);
    ended = true;
    return status;
}
