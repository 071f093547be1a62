/* Reads and plays the scenario file that HOURBOOK_FAKE_NVML_SCENARIO names; see nvml.c for what it may say. */
#define _GNU_SOURCE
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { REPLAY_MS = 20 };

Gpu gpus[GPUS_MAX];
char driver[80];
int order[GPUS_MAX], order_count;

static Failure failures[FAILURES_MAX];
static int failure_count;
static char *script;
static u64 loaded_ms, played_ms;
static struct timespec script_mtime;
static off_t script_size = -1;

u64 wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static void copy_text(char *into, size_t size, const char *value) {
    size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        value++;
        length -= 2;
    }
    snprintf(into, size, "%.*s", (int)length, value);
}

static void add_process(Gpu *gpu, const char *value) {
    static const char *kinds[KINDS] = {"compute", "graphics", "mps"};
    char kind[16] = "compute";
    unsigned pid;
    long long mib;
    if (gpu->process_count >= PROCESSES_MAX || sscanf(value, "%u %lld %15s", &pid, &mib, kind) < 2) return;
    gpu->process_pid[gpu->process_count] = pid;
    gpu->process_mib[gpu->process_count] = mib < 0 ? ~0ULL : (u64)mib;
    for (unsigned i = 0; i < KINDS; i++)
        if (!strcmp(kind, kinds[i])) gpu->process_kind[gpu->process_count] = i;
    gpu->process_count++;
}

static int set_text(Gpu *gpu, const char *key, const char *value) {
    struct { const char *key; char *into; size_t size; } texts[] = {
        {"uuid", gpu->uuid, sizeof gpu->uuid}, {"pci", gpu->pci, sizeof gpu->pci},
        {"serial", gpu->serial, sizeof gpu->serial}, {"part", gpu->part, sizeof gpu->part},
        {"name", gpu->name, sizeof gpu->name},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(key, texts[i].key)) return copy_text(texts[i].into, texts[i].size, value), 1;
    return 0;
}

static int set_number(Gpu *gpu, const char *key, u64 number) {
    struct { const char *key; u64 *wide; unsigned *narrow; int *flag; } numbers[] = {
        {"memory_mib", &gpu->memory_mib, 0, 0}, {"used_mib", &gpu->used_mib, 0, 0},
        {"reserved_mib", &gpu->reserved_mib, 0, 0}, {"power_mw", &gpu->power_mw, 0, 0},
        {"throttle", &gpu->throttle, 0, 0}, {"ecc_corrected", &gpu->ecc_corrected, 0, 0},
        {"ecc_uncorrected", &gpu->ecc_uncorrected, 0, 0}, {"ecc_volatile", &gpu->ecc_volatile, 0, 0},
        {"utilisation", 0, &gpu->utilisation, 0}, {"temperature", 0, &gpu->temperature, 0},
        {"sm_clock", 0, &gpu->sm_clock, 0}, {"memory_clock", 0, &gpu->memory_clock, 0},
        {"remap_corrected", 0, &gpu->remap_corrected, 0}, {"remap_uncorrected", 0, &gpu->remap_uncorrected, 0},
        {"pci_device", 0, &gpu->pci_device, 0}, {"nvlinks", 0, &gpu->nvlinks, 0},
        {"nvlinks_down", 0, &gpu->nvlinks_down, 0}, {"remap_pending", 0, 0, &gpu->remap_pending},
        {"remap_failed", 0, 0, &gpu->remap_failed}, {"mig", 0, 0, &gpu->mig}, {"lost", 0, 0, &gpu->lost},
        {"hidden", 0, 0, &gpu->hidden},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(key, numbers[i].key)) continue;
        if (numbers[i].wide) *numbers[i].wide = number;
        if (numbers[i].narrow) *numbers[i].narrow = (unsigned)number;
        if (numbers[i].flag) *numbers[i].flag = number != 0;
        return 1;
    }
    return 0;
}

static int set_state(Gpu *gpu, const char *key, u64 number) {
    if (!strcmp(key, "energy_mj")) gpu->energy_uj = number * 1000;
    else if (!strcmp(key, "energy_reset")) gpu->energy_uj = 0, gpu->energy_resets++;
    else if (!strcmp(key, "no_process")) gpu->process_count = 0;
    else if (!strcmp(key, "recovery_action")) gpu->recovery_action = (unsigned)number, gpu->has_recovery_action = 1;
    else if (!strcmp(key, "fabric_state")) gpu->fabric_state = (unsigned)number, gpu->has_fabric = 1;
    else if (!strcmp(key, "xid") && gpu->xid_count < XIDS_MAX) gpu->xids[gpu->xid_count++] = number;
    else return 0;
    return 1;
}

static void set_fact(Gpu *gpu, const char *key, const char *value) {
    gpu->exists = 1;
    if (set_text(gpu, key, value)) return;
    if (!strcmp(key, "process")) {
        add_process(gpu, value);
        return;
    }
    u64 number = strtoull(value, NULL, 0);
    if (!set_number(gpu, key, number) && !set_state(gpu, key, number))
        fprintf(stderr, "fake NVML: unknown key '%s' in the scenario\n", key);
}

/* Adds `function CALL GPU|* CODE|hang [SECONDS]|crash|garbage|missing|ok`; CALL may end in a star. */
static int add_failure(const char *line) {
    Failure made = {"", -1, 0, 0};
    char target[8], does[16];
    if (sscanf(line, "function %79s %7s %15s %lf", made.call, target, does, &made.seconds) < 3) return 0;
    made.gpu = *target == '*' ? -1 : atoi(target);
    if (!strcmp(does, "hang")) made.does = HANG;
    else if (!strcmp(does, "crash")) made.does = CRASH;
    else if (!strcmp(does, "garbage")) made.does = GARBAGE;
    else if (!strcmp(does, "missing")) made.does = FUNCTION_NOT_FOUND;
    else if (strcmp(does, "ok")) made.does = atoi(does);
    if (failure_count < FAILURES_MAX) failures[failure_count++] = made;
    return 1;
}

int scripted(const char *call, int gpu, double *seconds) {
    int does = 0;
    for (int i = 0; i < failure_count; i++) { /* the last line that fits decides */
        size_t length = strlen(failures[i].call);
        int is_prefix = length && failures[i].call[length - 1] == '*';
        if (is_prefix ? strncmp(call, failures[i].call, length - 1) : strcmp(call, failures[i].call)) continue;
        if (failures[i].gpu >= 0 && failures[i].gpu != gpu) continue;
        does = failures[i].does;
        *seconds = failures[i].seconds;
    }
    return does;
}

static void read_order(const char *numbers) {
    int used;
    for (order_count = 0; order_count < GPUS_MAX && sscanf(numbers, "%d%n", &order[order_count], &used) == 1;) {
        numbers += used;
        if (order[order_count] >= 0 && order[order_count] < GPUS_MAX) order_count++;
    }
}

static int read_script(void) {
    const char *path = getenv("HOURBOOK_FAKE_NVML_SCENARIO");
    struct stat status;
    FILE *file;
    if (!path || stat(path, &status)) return 0;
    if (status.st_size == script_size && status.st_mtim.tv_sec == script_mtime.tv_sec &&
        status.st_mtim.tv_nsec == script_mtime.tv_nsec)
        return 0;
    if (!(file = fopen(path, "r"))) return 0;
    char *text = malloc((size_t)status.st_size + 1);
    if (text) {
        text[fread(text, 1, (size_t)status.st_size, file)] = 0;
        free(script);
        script = text;
        script_size = status.st_size;
        script_mtime = status.st_mtim;
    }
    fclose(file);
    return 1;
}

static void integrate_power(u64 from_ms, u64 to_ms) {
    for (int i = 0; i < GPUS_MAX; i++)
        if (gpus[i].exists && !gpus[i].lost) gpus[i].energy_uj += gpus[i].power_mw * (to_ms - from_ms);
}

static void apply_line(char *line) {
    char key[32];
    int index, used = 0;
    if (sscanf(line, "driver %79s", driver) == 1) return;
    if (!strncmp(line, "order ", 6)) {
        read_order(line + 6);
        return;
    }
    if (!strncmp(line, "function ", 9) && add_failure(line)) return;
    if (sscanf(line, "gpu %d %31s %n", &index, key, &used) == 2 && index >= 0 && index < GPUS_MAX) {
        set_fact(&gpus[index], key, line + used);
        return;
    }
    fprintf(stderr, "fake NVML: cannot read the scenario line '%s'\n", line);
}

/* Plays the whole script up to now: short, and there is no state to go wrong between two readings. */
static void play(u64 now_ms) {
    u64 start_ms = loaded_ms, at_ms = 0, elapsed_ms;
    char line[LINE_MAX_BYTES], *cursor = script;
    memset(gpus, 0, sizeof gpus);
    failure_count = order_count = 0;
    while (cursor && *cursor) {
        double at_s;
        int used = 0;
        size_t length = strcspn(cursor, "\r\n");
        snprintf(line, sizeof line, "%.*s", (int)length, cursor);
        cursor += length + strspn(cursor + length, "\r\n");
        if (!*line || *line == '#' || sscanf(line, "start %llu", &start_ms) == 1) continue;
        elapsed_ms = now_ms > start_ms ? now_ms - start_ms : 0;
        if (sscanf(line, "at %lf %n", &at_s, &used) == 1) {
            u64 due_ms = (u64)(at_s * 1000);
            if (due_ms > elapsed_ms) continue;
            if (due_ms > at_ms) {
                integrate_power(at_ms, due_ms);
                at_ms = due_ms;
            }
        }
        apply_line(line + used);
    }
    elapsed_ms = now_ms > start_ms ? now_ms - start_ms : 0;
    if (elapsed_ms > at_ms) integrate_power(at_ms, elapsed_ms);
    played_ms = now_ms;
}

void refresh(void) {
    u64 now_ms = wall_ms();
    if (!loaded_ms) loaded_ms = now_ms;
    if (read_script() || now_ms < played_ms || now_ms - played_ms >= REPLAY_MS) play(now_ms);
}
