/* A scripted stand-in for libnvidia-ml.so.1: the symbols that the agent reads through the real pynvml.
 *
 * HOURBOOK_FAKE_NVML_SCENARIO names a text file; it is read again whenever it changes. One fact a line:
 *     driver 570.124.06
 *     start 1790000000000              wall clock (ms) that `at` counts from; without it, the loading of the library
 *     gpu 0 uuid GPU-…                 keys: see `set_fact`; a GPU exists from its first line on
 *     at 12.5 gpu 3 lost 1             the same, from 12.5 s after the start; `at` lines stand in order of time
 * Energy is the integral of `power_mw` over that time line, and never falls, also when the file is edited.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { GPUS_MAX = 64, PROCESSES_MAX = 16, XIDS_MAX = 64, LINE_MAX_BYTES = 512 };
enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10, GPU_IS_LOST = 15, UNKNOWN = 999
};
enum { EVENT_XID = 8 };

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; u64 used_memory; unsigned gpu_instance, compute_instance; } ProcessInfo;
typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} PciInfo;

typedef struct {
    int exists, lost, mig, remap_failed, process_count, xid_count;
    char uuid[96], pci[32], serial[30], part[80], name[96];
    u64 memory_mib, used_mib, power_mw, energy_uj, throttle, ecc_corrected, ecc_uncorrected;
    unsigned utilisation, temperature, sm_clock, memory_clock, remap_corrected, remap_uncorrected;
    unsigned process_pid[PROCESSES_MAX];
    u64 process_mib[PROCESSES_MAX], xids[XIDS_MAX];
} Gpu;

typedef struct { Gpu *device; u64 event_type, event_data; unsigned gpu_instance, compute_instance; } EventData;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Gpu gpus[GPUS_MAX];
static u64 energy_floor_mj[GPUS_MAX];
static int xids_delivered[GPUS_MAX], watched[GPUS_MAX];
static char driver[80], *script;
static int initialised;
static u64 loaded_ms;
static struct timespec script_mtime;
static off_t script_size = -1;

/* What a reader looks for to know that this is not NVIDIA's library. */
const char hourbook_simulated_nvml[] = "hourbook simulated NVML 1";

static u64 wall_ms(void) {
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
    unsigned pid;
    u64 mib;
    if (gpu->process_count < PROCESSES_MAX && sscanf(value, "%u %llu", &pid, &mib) == 2) {
        gpu->process_pid[gpu->process_count] = pid;
        gpu->process_mib[gpu->process_count++] = mib;
    }
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
        {"power_mw", &gpu->power_mw, 0, 0}, {"throttle", &gpu->throttle, 0, 0},
        {"ecc_corrected", &gpu->ecc_corrected, 0, 0}, {"ecc_uncorrected", &gpu->ecc_uncorrected, 0, 0},
        {"utilisation", 0, &gpu->utilisation, 0}, {"temperature", 0, &gpu->temperature, 0},
        {"sm_clock", 0, &gpu->sm_clock, 0}, {"memory_clock", 0, &gpu->memory_clock, 0},
        {"remap_corrected", 0, &gpu->remap_corrected, 0}, {"remap_uncorrected", 0, &gpu->remap_uncorrected, 0},
        {"remap_failed", 0, 0, &gpu->remap_failed}, {"mig", 0, 0, &gpu->mig}, {"lost", 0, 0, &gpu->lost},
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

static void set_fact(Gpu *gpu, const char *key, const char *value) {
    gpu->exists = 1;
    if (set_text(gpu, key, value)) return;
    u64 number = strtoull(value, NULL, 0);
    if (set_number(gpu, key, number)) return;
    if (!strcmp(key, "energy_mj")) gpu->energy_uj = number * 1000;
    else if (!strcmp(key, "process")) add_process(gpu, value);
    else if (!strcmp(key, "no_process")) gpu->process_count = 0;
    else if (!strcmp(key, "xid") && gpu->xid_count < XIDS_MAX) gpu->xids[gpu->xid_count++] = number;
    else fprintf(stderr, "fake NVML: unknown key '%s' in the scenario\n", key);
}

static void read_script(void) {
    const char *path = getenv("HOURBOOK_FAKE_NVML_SCENARIO");
    struct stat status;
    FILE *file;
    if (!path || stat(path, &status)) return;
    if (status.st_size == script_size && status.st_mtim.tv_sec == script_mtime.tv_sec &&
        status.st_mtim.tv_nsec == script_mtime.tv_nsec)
        return;
    if (!(file = fopen(path, "r"))) return;
    char *text = malloc((size_t)status.st_size + 1);
    if (text) {
        text[fread(text, 1, (size_t)status.st_size, file)] = 0;
        free(script);
        script = text;
        script_size = status.st_size;
        script_mtime = status.st_mtim;
    }
    fclose(file);
}

static void integrate_power(u64 from_ms, u64 to_ms) {
    for (int i = 0; i < GPUS_MAX; i++)
        if (gpus[i].exists && !gpus[i].lost) gpus[i].energy_uj += gpus[i].power_mw * (to_ms - from_ms);
}

static void apply_line(char *line) {
    char key[32];
    int index, used = 0;
    if (sscanf(line, "driver %79s", driver) == 1) return;
    if (sscanf(line, "gpu %d %31s %n", &index, key, &used) == 2 && index >= 0 && index < GPUS_MAX) {
        set_fact(&gpus[index], key, line + used);
        return;
    }
    fprintf(stderr, "fake NVML: cannot read the scenario line '%s'\n", line);
}

/* Plays the whole script up to now: short, and there is no state to go wrong between two readings. */
static void play(void) {
    u64 start_ms = loaded_ms, now_ms = wall_ms(), at_ms = 0, elapsed_ms;
    char line[LINE_MAX_BYTES], *cursor = script;
    memset(gpus, 0, sizeof gpus);
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
}

static void refresh(void) {
    if (!loaded_ms) loaded_ms = wall_ms();
    read_script();
    play();
}

/* Takes the lock and brings the GPU up to date; the caller unlocks. A lost GPU answers as the real library does. */
static int enter(Gpu *gpu) {
    pthread_mutex_lock(&lock);
    if (!initialised) return UNINITIALIZED;
    refresh();
    if (!gpu) return SUCCESS;
    if (gpu < gpus || gpu >= gpus + GPUS_MAX || !gpu->exists) return INVALID_ARGUMENT;
    return gpu->lost ? GPU_IS_LOST : SUCCESS;
}

static int leave(int result) {
    pthread_mutex_unlock(&lock);
    return result;
}

static int give_text(int result, char *into, unsigned size, const char *text) {
    if (result == SUCCESS && !*text) result = NOT_SUPPORTED;
    if (result == SUCCESS && strlen(text) >= size) result = INSUFFICIENT_SIZE;
    if (result == SUCCESS) strcpy(into, text);
    return leave(result);
}

#define GIVE(type, name, expression)                     \
    int name(Gpu *gpu, type *value) {                    \
        int result = enter(gpu);                         \
        if (result == SUCCESS) *value = (expression);    \
        return leave(result);                            \
    }

#define GIVE_TEXT(name, field)                                     \
    int name(Gpu *gpu, char *into, unsigned size) {                \
        return give_text(enter(gpu), into, size, gpu->field);      \
    }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&lock);
    initialised++;
    refresh();
    return leave(SUCCESS);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    if (initialised) initialised--;
    return leave(SUCCESS);
}
const char *nvmlErrorString(int result) {
    switch (result) {
        case SUCCESS: return "Success";
        case UNINITIALIZED: return "Uninitialized";
        case INVALID_ARGUMENT: return "Invalid Argument";
        case NOT_SUPPORTED: return "Not Supported";
        case NOT_FOUND: return "Not Found";
        case INSUFFICIENT_SIZE: return "Insufficient Size";
        case TIMEOUT: return "Timeout";
        case GPU_IS_LOST: return "GPU is lost";
        default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *into, unsigned size) { return give_text(enter(NULL), into, size, driver); }
int nvmlSystemGetNVMLVersion(char *into, unsigned size) { return give_text(enter(NULL), into, size, driver); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    int result = enter(NULL);
    for (*count = 0; result == SUCCESS && *count < GPUS_MAX && gpus[*count].exists;) ++*count;
    return leave(result);
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    if (index >= GPUS_MAX) return INVALID_ARGUMENT;
    int result = enter(&gpus[index]);
    if (result == SUCCESS) *gpu = &gpus[index];
    return leave(result);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **gpu) {
    int result = enter(NULL);
    if (result != SUCCESS) return leave(result);
    for (int i = 0; i < GPUS_MAX; i++)
        if (gpus[i].exists && !strcmp(gpus[i].uuid, uuid)) return *gpu = &gpus[i], leave(gpus[i].lost ? GPU_IS_LOST : 0);
    return leave(NOT_FOUND);
}

GIVE_TEXT(nvmlDeviceGetUUID, uuid)
GIVE_TEXT(nvmlDeviceGetName, name)
GIVE_TEXT(nvmlDeviceGetSerial, serial)
GIVE_TEXT(nvmlDeviceGetBoardPartNumber, part)
GIVE(unsigned, nvmlDeviceGetPowerUsage, (unsigned)gpu->power_mw)
GIVE(u64, nvmlDeviceGetCurrentClocksEventReasons, gpu->throttle)
GIVE(u64, nvmlDeviceGetCurrentClocksThrottleReasons, gpu->throttle)

int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, u64 *millijoules) {
    int result = enter(gpu);
    if (result != SUCCESS) return leave(result);
    u64 *floor_mj = &energy_floor_mj[gpu - gpus];
    if (gpu->energy_uj / 1000 > *floor_mj) *floor_mj = gpu->energy_uj / 1000;
    *millijoules = *floor_mj;
    return leave(result);
}
int nvmlDeviceGetPciInfo_v3(Gpu *gpu, PciInfo *info) {
    int result = enter(gpu);
    if (result == SUCCESS) {
        memset(info, 0, sizeof *info);
        sscanf(gpu->pci, "%x:%x:%x", &info->domain, &info->bus, &info->device);
        info->pci_device_id = 0x10DE;
        snprintf(info->bus_id, sizeof info->bus_id, "%s", gpu->pci);
        snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "%04x:%02x:%02x.0", info->domain & 0xffff,
                 info->bus & 0xff, info->device & 0xff);
    }
    return leave(result);
}
int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) {
    int result = enter(gpu);
    if (result == SUCCESS) {
        memory->total = gpu->memory_mib << 20;
        memory->used = gpu->used_mib << 20;
        memory->free = memory->total - memory->used;
    }
    return leave(result);
}
int nvmlDeviceGetUtilizationRates(Gpu *gpu, Utilization *rates) {
    int result = enter(gpu);
    if (result == SUCCESS) *rates = (Utilization){gpu->utilisation, gpu->utilisation / 2};
    return leave(result);
}
int nvmlDeviceGetTemperature(Gpu *gpu, unsigned sensor, unsigned *celsius) {
    int result = enter(gpu);
    (void)sensor;
    if (result == SUCCESS) *celsius = gpu->temperature;
    return leave(result);
}
int nvmlDeviceGetClockInfo(Gpu *gpu, unsigned clock, unsigned *mhz) {
    int result = enter(gpu);
    if (result == SUCCESS) *mhz = clock == 2 ? gpu->memory_clock : gpu->sm_clock;
    return leave(result);
}
int nvmlDeviceGetTotalEccErrors(Gpu *gpu, unsigned error_type, unsigned counter, u64 *count) {
    int result = enter(gpu);
    (void)counter;
    if (result == SUCCESS) *count = error_type ? gpu->ecc_uncorrected : gpu->ecc_corrected;
    return leave(result);
}
int nvmlDeviceGetRemappedRows(Gpu *gpu, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failed) {
    int result = enter(gpu);
    if (result == SUCCESS) {
        *corrected = gpu->remap_corrected;
        *uncorrected = gpu->remap_uncorrected;
        *pending = 0;
        *failed = (unsigned)gpu->remap_failed;
    }
    return leave(result);
}
int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    int result = enter(gpu);
    if (result == SUCCESS) *current = *pending = (unsigned)gpu->mig;
    return leave(result);
}
int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, ProcessInfo *infos) {
    int result = enter(gpu);
    if (result != SUCCESS) return leave(result);
    unsigned room = *count;
    *count = (unsigned)gpu->process_count;
    if (room < *count) return leave(INSUFFICIENT_SIZE);
    for (unsigned i = 0; i < *count; i++)
        infos[i] = (ProcessInfo){gpu->process_pid[i], gpu->process_mib[i] << 20, 0xFFFFFFFF, 0xFFFFFFFF};
    return leave(SUCCESS);
}

int nvmlEventSetCreate(void **set) { return *set = watched, SUCCESS; }
int nvmlEventSetFree(void *set) { return (void)set, SUCCESS; }
int nvmlDeviceRegisterEvents(Gpu *gpu, u64 types, void *set) {
    int result = enter(gpu);
    (void)set;
    if (result == SUCCESS && types & EVENT_XID) watched[gpu - gpus] = 1;
    return leave(result);
}

static int next_xid(EventData *event) {
    for (int i = 0; i < GPUS_MAX; i++)
        if (watched[i] && xids_delivered[i] < gpus[i].xid_count) {
            *event = (EventData){&gpus[i], EVENT_XID, gpus[i].xids[xids_delivered[i]++], 0xFFFFFFFF, 0xFFFFFFFF};
            return SUCCESS;
        }
    return TIMEOUT;
}
int nvmlEventSetWait_v2(void *set, EventData *event, unsigned timeout_ms) {
    (void)set;
    for (u64 end_ms = wall_ms() + timeout_ms;;) {
        int result = enter(NULL);
        if (result == SUCCESS) result = next_xid(event);
        leave(result);
        if (result != TIMEOUT || wall_ms() >= end_ms) return result;
        usleep(5000);
    }
}

/* For the test that compares these layouts with pynvml's own. */
unsigned hourbook_fake_nvml_sizeof(const char *name) {
    struct { const char *name; size_t size; } sizes[] = {
        {"c_nvmlMemory_t", sizeof(Memory)}, {"c_nvmlUtilization_t", sizeof(Utilization)},
        {"c_nvmlProcessInfo_t", sizeof(ProcessInfo)}, {"nvmlPciInfo_t", sizeof(PciInfo)},
        {"c_nvmlEventData_t", sizeof(EventData)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(name, sizes[i].name)) return (unsigned)sizes[i].size;
    return 0;
}
