/*
 * The configuration as the commands for the running server need it.
 *
 * An administrator who has just broken the file must still be able to ask for the server's
 * state and to stop it. So when the file has errors, only run_dir is taken from it, from a line
 * that says nothing else; all other values are the defaults. Files that it includes aren't
 * looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "proc/ctl.h"

#define LINE_SIZE 4200 /* a name and a text value */
#define LINES_MAX 100000

static void
ignore(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    (void)file;
    (void)line;
    (void)text;
}

/* The value if this line sets run_dir, else NULL. Cuts the line. */
static char *
run_dir_of(char *line)
{
    char *p = line + strspn(line, " \t");

    if (strncmp(p, "run_dir", 7) != 0)
        return NULL;
    p += 7;
    p += strspn(p, " \t");
    if (*p++ != '=')
        return NULL;
    p += strspn(p, " \t");
    p[strcspn(p, " \t\r\n")] = '\0';
    return p[0] == '/' ? p : NULL;
}

struct conf *
ctl_server_conf(const char *file)
{
    struct conf *conf;
    char line[LINE_SIZE], *value;
    FILE *f;

    if (conf_load(file, ignore, NULL, &conf) == 0)
        return conf;
    conf = conf_defaults();
    f = fopen(file, "re");
    for (int n = 0; f != NULL && n < LINES_MAX && fgets(line, sizeof line, f) != NULL; n++) {
        value = run_dir_of(line);
        if (value != NULL) {
            free(conf->run_dir);
            conf->run_dir = mem_strdup(value);
        }
    }
    if (f != NULL)
        fclose(f);
    return conf;
}
