/* Tests what the header promises against a real daemon: client SOCKET FOLDER PATH, where FOLDER is the directory
 * of PATH. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgtrace.h"

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "line %d: %s: %d %s\n", __LINE__, #condition, cgtrace_error_code(),              \
                    cgtrace_error_message());                                                                \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static const char *daemon_socket;
static char below_name[4096], below_folder[4096];

static void *waiter(void *unused) {
    (void)unused;
    cgtrace_client *client = cgtrace_connect(daemon_socket);
    CHECK(client);
    CHECK(cgtrace_wait(client, below_name, CGTRACE_PRESENT, "v2", 60000) == 1);
    cgtrace_close(client);
    return NULL;
}

static void *failing(void *unused) {
    (void)unused;
    CHECK(!cgtrace_connect("/nowhere/io.cgtrace"));
    CHECK(cgtrace_error_code() == CGTRACE_E_CONNECT);
    return NULL;
}

static void expect(cgtrace_watch *watch, const char *begin, const char *within) {
    char *json = NULL;
    CHECK(cgtrace_watch_next_json(watch, 60000, &json) == 1);
    if (strncmp(json, begin, strlen(begin)) != 0 || !strstr(json, within)) {
        fprintf(stderr, "expected %s…%s…, got %s\n", begin, within, json);
        exit(1);
    }
    cgtrace_free(json);
}

static void errors(cgtrace_client *client, const char *name) {
    pthread_t thread;
    char *json = NULL;
    CHECK(cgtrace_exists(client, "relative", NULL) == CGTRACE_E_PATH);
    CHECK(cgtrace_error_code() == CGTRACE_E_PATH && strstr(cgtrace_error_message(), "/relative"));
    /* Another thread's failure is its own. */
    CHECK(pthread_create(&thread, NULL, failing, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(cgtrace_error_code() == CGTRACE_E_PATH);
    CHECK(cgtrace_exists(client, name, "memry") == CGTRACE_E_UNKNOWN);
    CHECK(cgtrace_wait(client, name, 4, NULL, 0) == CGTRACE_E_ARGUMENT);
    CHECK(cgtrace_wait(client, name, -1, NULL, 0) == CGTRACE_E_ARGUMENT);
    CHECK(cgtrace_exists(NULL, name, NULL) == CGTRACE_E_ARGUMENT);
    CHECK(cgtrace_exists(client, NULL, NULL) == CGTRACE_E_ARGUMENT);
    CHECK(cgtrace_lookup_json(client, name, NULL, NULL) == CGTRACE_E_ARGUMENT);
    CHECK(cgtrace_watch_next_json(NULL, 0, &json) == CGTRACE_E_ARGUMENT && !json);
    const char *kinds[] = {"mkdr", NULL};
    CHECK(!cgtrace_watch_start(daemon_socket, NULL, kinds, NULL, -1));
    CHECK(cgtrace_error_code() == CGTRACE_E_UNKNOWN);
    cgtrace_close(NULL);
    cgtrace_watch_stop(NULL);
    cgtrace_free(NULL);
    /* A mistake leaves the connection in order, and success clears the error. */
    CHECK(cgtrace_exists(client, name, NULL) == 1);
    CHECK(cgtrace_error_code() == 0 && strcmp(cgtrace_error_message(), "") == 0);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    daemon_socket = argv[1];
    const char *name = argv[3];
    snprintf(below_folder, sizeof below_folder, "%s/\xff", argv[2]);
    snprintf(below_name, sizeof below_name, "%s/\xff", name);

    cgtrace_client *client = cgtrace_connect(daemon_socket);
    CHECK(client);
    CHECK(strlen(cgtrace_version()) >= 5);
    errors(client, name);

    const char *patterns[] = {name, NULL}, *kinds[] = {"mkdir", "rmdir", NULL};
    cgtrace_watch *watch = cgtrace_watch_start(daemon_socket, patterns, kinds, "v2", -1);
    CHECK(watch);
    expect(watch, "{\"started\":", "\"pid\":");
    char *json = NULL;
    CHECK(cgtrace_watch_next_json(watch, 10, &json) == 0 && !json);

    /* A path that is not UTF-8, while another thread waits for it. */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, waiter, NULL) == 0);
    CHECK(cgtrace_exists(client, below_name, "v2") == 0);
    CHECK(cgtrace_wait(client, below_name, CGTRACE_PRESENT, NULL, 1) == 0);
    CHECK(mkdir(below_folder, 0755) == 0);
    CHECK(cgtrace_exists(client, below_name, "v2") == 1);
    CHECK(pthread_join(thread, NULL) == 0);
    expect(watch, "{\"event\":", "\"kind\":\"mkdir\"");
    CHECK(cgtrace_lookup_json(client, below_name, "v2", &json) == 0);
    CHECK(strstr(json, "\"present\":true") && strstr(json, "\"path_hex\":"));
    puts(json);
    cgtrace_free(json);
    CHECK(rmdir(below_folder) == 0);
    CHECK(cgtrace_wait(client, below_name, CGTRACE_ABSENT, NULL, -1) == 1);
    CHECK(cgtrace_wait(client, name, CGTRACE_EMPTY, "v2", 0) == 1);
    CHECK(cgtrace_wait(client, name, CGTRACE_POPULATED, "v2", 0) == 0);
    expect(watch, "{\"event\":", "\"kind\":\"rmdir\"");

    cgtrace_watch_stop(watch);
    cgtrace_close(client);
    return 0;
}
