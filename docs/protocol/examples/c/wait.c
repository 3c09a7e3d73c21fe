/* Waits for a cgroup: cc wait.c -lcgtrace -o wait && ./wait /system.slice/kubelet.service */
#include <stdio.h>

#include "cgtrace.h"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: wait PATH, for example /system.slice/kubelet.service\n");
        return 2;
    }
    cgtrace_client *client = cgtrace_connect(NULL);
    int reached = client ? cgtrace_wait(client, argv[1], CGTRACE_PRESENT, NULL, 30000) : cgtrace_error_code();
    if (reached < 0)
        fprintf(stderr, "%s\n", cgtrace_error_message());
    else
        printf("%s: %s\n", argv[1], reached ? "present" : "absent after 30 s");
    cgtrace_close(client);
    return reached < 0 ? 3 : !reached;
}
