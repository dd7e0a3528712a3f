/*
 * sd_notify(3); see notify.h. Without libsystemd, or not started by systemd (no NOTIFY_SOCKET),
 * these calls do nothing.
 */
#include "proc/notify.h"

#ifdef HAVE_SYSTEMD

#include <inttypes.h>
#include <stdint.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/sys.h"

void
notify_ready(void)
{
    sd_notifyf(0, "READY=1\nMAINPID=%ld", (long)getpid());
}

void
notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, sys_monotonic_ms() * 1000);
}

void
notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

#else

void
notify_ready(void)
{
}

void
notify_reloading(void)
{
}

void
notify_stopping(void)
{
}

#endif
