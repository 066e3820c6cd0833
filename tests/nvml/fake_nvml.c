/* A stand-in for NVIDIA's management library, for machines without a GPU.
 *
 * It is loaded under the library's own name by the real Python binding, so struct layouts, versions and symbol names
 * are put to the test. What it reports is read at every call from the text file that CNNBO_FAKE_NVML names: a test
 * rewrites the file and the "hardware" changes under a running program. Without that variable it answers as if no
 * NVIDIA library were installed.
 *
 *     error library 9                   every call fails with this NVML code
 *     error wait 999                    waiting for events fails with it
 *     slow 20                           every call takes so many milliseconds longer
 *     driver 570.133.20
 *     cuda 12080                        the newest CUDA that the driver serves, as NVML writes it
 *     event 1 17 8 79 4294967295 4294967295
 *                                       serial number (rising), handle of the GPU (0 = one that is dead), type, data (an
 *                                       XID), GPU instance and compute instance (4294967295 = all)
 *     gpu 17 GPU-11111111-...           a GPU: its present handle (unique, above 0), its UUID; what follows is about it
 *       name NVIDIA H100
 *       bus 00000000:17:00.0
 *       capability 9 0                  compute capability, major and minor
 *       memory 81559 600 1024           MiB: total, reserved by the driver, used
 *       utilisation 30                  per cent
 *       temperature 50                  degrees Celsius
 *       power 120000                    milliwatts
 *       energy 81000                    millijoules since the driver was loaded
 *       ecc 2                           memory errors that could not be corrected
 *       clocks 64                       why its clocks are low, NVML's bits
 *       events 271                      the types of events it can tell of, NVML's bits
 *       recovery 1                      what the driver asks to do about it, NVML's number; 0 = nothing
 *       process compute 4711 900        compute or graphics, pid, MiB (-1 = the driver doesn't say)
 *       error power 3                   this call fails with this NVML code; `error device 15` = all of them do
 *       mig 1                           MIG mode is on
 *     instance 18 MIG-22222222-... 2 0  a MIG instance of that GPU and its numbers as GPU instance and compute instance,
 *                                       with name, memory and process lines of its own
 *     instance 0 - 0 0                  an empty place among the instances
 *
 * A handle that no longer stands in the file is dead, as after a GPU fell off its bus.
 * With -DOLD_DRIVER the symbols are missing that old drivers (before 450 and 510) lack.
 *
 * Calls may come from several threads, as with the real one. What is undefined there ends the program here: an event set
 * freed, or the last session ended, under a thread that waits.
 */

#define _POSIX_C_SOURCE 200809L
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10,
    LIBRARY_NOT_FOUND = 12,
    GPU_IS_LOST = 15,
    VERSION_MISMATCH = 25,
};
enum { MAX_GPUS = 16, MAX_INSTANCES = 7, MAX_PROCESSES = 16, MAX_ERRORS = 8, MAX_EVENTS = 64 };
enum { POLL_MS = 10, RECOVERY_ACTION_FIELD = 230, UNSIGNED_VALUE = 1, UNCORRECTED = 1 };
enum { MEMORY_V2 = 2 << 24 | 40 }; /* version and size of the struct, as NVML writes both into one number */

static const unsigned long long MIB = 1024 * 1024;

/* The layouts of nvml.h. */
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilisation_rates;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_info;
typedef struct { char legacy_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32]; } pci_info;
typedef struct { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event_data;
typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    int value_type, failed;
    union { unsigned number; unsigned long long widest; } value;
} field_value;
_Static_assert(sizeof(event_data) == 32 && sizeof(field_value) == 40, "not as in nvml.h");
_Static_assert(sizeof(memory_v2) == 40 && sizeof(process_info) == 24 && sizeof(pci_info) == 68, "not as in nvml.h");

struct process { char kind[16]; unsigned pid; long long mib; };
struct failure { char call[16]; int code; };

/* A whole GPU or one of its MIG instances. */
struct unit {
    uintptr_t handle;
    char uuid[96], name[96];
    unsigned long long total_mib, reserved_mib, used_mib;
    struct process processes[MAX_PROCESSES];
    unsigned process_count, gpu_instance, compute_instance;
};

struct gpu {
    struct unit self, instances[MAX_INSTANCES];
    unsigned instance_count, mig, utilisation, temperature, power, recovery;
    unsigned long long energy, ecc, clocks, events;
    char bus[32];
    int major, minor;
    struct failure errors[MAX_ERRORS];
    unsigned error_count;
};

struct event { unsigned long serial, handle; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

struct state {
    int library_error, wait_error;
    unsigned slow_ms;
    struct event events[MAX_EVENTS];
    unsigned event_count;
    char driver[80];
    int cuda;
    struct gpu gpus[MAX_GPUS];
    unsigned gpu_count;
};

static _Thread_local struct state state;
static atomic_int sessions; /* nvmlInit is counted */
static atomic_int endings;  /* how often the count fell to 0 */
static atomic_int waiting;  /* threads that wait for events */

/* ---- the file ---- */

static void read_unit_line(struct unit *unit, const char *line) {
    struct process *next = &unit->processes[unit->process_count];
    if (sscanf(line, " name %95[^\n]", unit->name) == 1) return;
    if (sscanf(line, " memory %llu %llu %llu", &unit->total_mib, &unit->reserved_mib, &unit->used_mib) == 3) return;
    if (unit->process_count < MAX_PROCESSES && sscanf(line, " process %15s %u %lld", next->kind, &next->pid, &next->mib) == 3)
        unit->process_count++;
}

static void read_gpu_line(struct gpu *gpu, const char *line) {
    struct failure *next = &gpu->errors[gpu->error_count];
    sscanf(line, " bus %31s", gpu->bus);
    sscanf(line, " capability %d %d", &gpu->major, &gpu->minor);
    sscanf(line, " utilisation %u", &gpu->utilisation);
    sscanf(line, " temperature %u", &gpu->temperature);
    sscanf(line, " power %u", &gpu->power);
    sscanf(line, " energy %llu", &gpu->energy);
    sscanf(line, " ecc %llu", &gpu->ecc);
    sscanf(line, " clocks %llu", &gpu->clocks);
    sscanf(line, " events %llu", &gpu->events);
    sscanf(line, " recovery %u", &gpu->recovery);
    sscanf(line, " mig %u", &gpu->mig);
    if (gpu->error_count < MAX_ERRORS && sscanf(line, " error %15s %d", next->call, &next->code) == 2) gpu->error_count++;
}

static struct unit *start_unit(struct unit *unit, unsigned long handle, const char *uuid) {
    unit->handle = handle;
    snprintf(unit->uuid, sizeof unit->uuid, "%s", uuid);
    return unit;
}

static void read_library_line(const char *line) {
    struct event *next = &state.events[state.event_count];
    sscanf(line, " error library %d", &state.library_error);
    sscanf(line, " error wait %d", &state.wait_error);
    sscanf(line, " slow %u", &state.slow_ms);
    sscanf(line, " driver %79s", state.driver);
    sscanf(line, " cuda %d", &state.cuda);
    if (state.event_count < MAX_EVENTS &&
        sscanf(line, " event %lu %lu %llu %llu %u %u", &next->serial, &next->handle, &next->type, &next->data,
               &next->gpu_instance, &next->compute_instance) == 6)
        state.event_count++;
}

static void read_file(FILE *file) {
    char line[256], uuid[96];
    unsigned long handle;
    unsigned gpu_instance, compute_instance;
    struct gpu *gpu = NULL;
    struct unit *unit = NULL;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, " gpu %lu %95s", &handle, uuid) == 2 && state.gpu_count < MAX_GPUS) {
            gpu = &state.gpus[state.gpu_count++];
            unit = start_unit(&gpu->self, handle, uuid);
        } else if (gpu && gpu->instance_count < MAX_INSTANCES &&
                   sscanf(line, " instance %lu %95s %u %u", &handle, uuid, &gpu_instance, &compute_instance) == 4) {
            unit = start_unit(&gpu->instances[gpu->instance_count++], handle, uuid);
            unit->gpu_instance = gpu_instance;
            unit->compute_instance = compute_instance;
        } else if (gpu) {
            read_unit_line(unit, line);
            read_gpu_line(gpu, line);
        } else {
            read_library_line(line);
        }
    }
}

static int read_state(void) {
    const char *path = getenv("CNNBO_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    memset(&state, 0, sizeof state);
    if (!file) return LIBRARY_NOT_FOUND;
    read_file(file);
    fclose(file);
    return state.library_error;
}

static void sleep_ms(unsigned ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static int open_call(void) {
    int failed = read_state();
    sleep_ms(state.slow_ms);
    if (failed) return failed;
    return sessions ? SUCCESS : UNINITIALIZED;
}

/* ---- looking things up ---- */

static int planned_error(const struct gpu *gpu, const char *call) {
    for (unsigned i = 0; i < gpu->error_count; i++)
        if (!strcmp(gpu->errors[i].call, call) || !strcmp(gpu->errors[i].call, "device")) return gpu->errors[i].code;
    return SUCCESS;
}

static int find_handle(uintptr_t handle, struct gpu **gpu, struct unit **unit) {
    for (*gpu = state.gpus; *gpu < state.gpus + state.gpu_count; ++*gpu) {
        *unit = &(*gpu)->self;
        if (handle == (*unit)->handle) return SUCCESS;
        for (unsigned i = 0; i < (*gpu)->instance_count; i++) {
            *unit = &(*gpu)->instances[i];
            if (handle && handle == (*unit)->handle) return SUCCESS;
        }
    }
    return GPU_IS_LOST;
}

/* What every call about a device begins with: the state of this moment, the device, and the error planned for it. */
static int enter(void *handle, const char *call, struct gpu **gpu, struct unit **unit) {
    int failed = open_call();
    if (failed) return failed;
    failed = find_handle((uintptr_t)handle, gpu, unit);
    return failed ? failed : planned_error(*gpu, call);
}

/* As `enter`, for figures that exist for whole GPUs only. */
static int enter_whole(void *handle, const char *call, struct gpu **gpu) {
    struct unit *unit;
    int failed = enter(handle, call, gpu, &unit);
    if (failed) return failed;
    return unit == &(*gpu)->self ? SUCCESS : NOT_SUPPORTED;
}

static int copy_text(char *to, unsigned length, const char *text) {
    return (unsigned)snprintf(to, length, "%s", text) < length ? SUCCESS : INSUFFICIENT_SIZE;
}

static void forbid(int happened, const char *what) {
    if (!happened) return;
    fprintf(stderr, "fake NVML: %s\n", what);
    abort();
}

/* ---- the library ---- */

int nvmlInitWithFlags(unsigned flags) {
    int failed = read_state();
    (void)flags;
    sleep_ms(state.slow_ms);
    if (!failed) sessions++;
    return failed;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!sessions) return UNINITIALIZED;
    if (--sessions == 0) {
        endings++;
        forbid(waiting, "the last session ended under a thread that waits for events");
    }
    return SUCCESS;
}

/* For tests alone. */
int fake_sessions(void) { return sessions; }
int fake_endings(void) { return endings; }
int fake_waiting(void) { return waiting; }

const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the stand-in library";
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    int failed = open_call();
    return failed ? failed : copy_text(version, length, state.driver);
}

int nvmlSystemGetCudaDriverVersion(int *version) {
    int failed = open_call();
    *version = state.cuda;
    return failed;
}

/* The library's own version, which it tells without a driver, too. */
int nvmlSystemGetNVMLVersion(char *version, unsigned length) { return copy_text(version, length, "12.570.133.20"); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    int failed = open_call();
    *count = state.gpu_count;
    return failed;
}

/* ---- from index or UUID to a handle ---- */

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    int failed = open_call();
    if (failed) return failed;
    if (index >= state.gpu_count) return INVALID_ARGUMENT;
    *handle = (void *)state.gpus[index].self.handle;
    return planned_error(&state.gpus[index], "handle");
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    int failed = open_call();
    if (failed) return failed;
    for (struct gpu *gpu = state.gpus; gpu < state.gpus + state.gpu_count; gpu++) {
        struct unit *found = strcmp(uuid, gpu->self.uuid) ? NULL : &gpu->self;
        for (unsigned i = 0; i < gpu->instance_count; i++)
            if (!strcmp(uuid, gpu->instances[i].uuid)) found = &gpu->instances[i];
        if (found) {
            *handle = (void *)found->handle;
            return planned_error(gpu, "handle");
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(void *handle, unsigned *index) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "index", &gpu, &unit);
    if (failed) return failed;
    *index = unit == &gpu->self ? (unsigned)(gpu - state.gpus) : (unsigned)(unit - gpu->instances);
    return SUCCESS;
}

/* ---- what a device is ---- */

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "uuid", &gpu, &unit);
    return failed ? failed : copy_text(uuid, length, unit->uuid);
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "name", &gpu, &unit);
    return failed ? failed : copy_text(name, length, unit->name);
}

int nvmlDeviceGetPciInfo_v3(void *handle, pci_info *info) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "pci", &gpu);
    if (failed) return failed;
    memset(info, 0, sizeof *info);
    sscanf(gpu->bus, "%x:%x:%x", &info->domain, &info->bus, &info->device);
    return copy_text(info->id, sizeof info->id, gpu->bus);
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "capability", &gpu, &unit);
    *major = failed ? 0 : gpu->major;
    *minor = failed ? 0 : gpu->minor;
    return failed;
}

/* ---- figures ---- */

int nvmlDeviceGetMemoryInfo(void *handle, memory_v1 *memory) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "memory", &gpu, &unit);
    if (failed) return failed;
    memory->total = unit->total_mib * MIB;
    memory->used = (unit->used_mib + unit->reserved_mib) * MIB; /* version 1 counts the driver's share as used */
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

/* The window through which the processor sees the memory; nvitop shows no instance without it. */
int nvmlDeviceGetBAR1MemoryInfo(void *handle, memory_v1 *window) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "memory", &gpu, &unit);
    if (!failed) *window = (memory_v1){.total = 256 * MIB, .free = 254 * MIB, .used = 2 * MIB};
    return failed;
}

int nvmlDeviceGetUtilizationRates(void *handle, utilisation_rates *rates) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "utilisation", &gpu);
    if (!failed) *rates = (utilisation_rates){.gpu = gpu->utilisation};
    return failed;
}

int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "temperature", &gpu);
    if (!failed) *celsius = gpu->temperature;
    return failed || !sensor ? failed : INVALID_ARGUMENT;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "power", &gpu);
    if (!failed) *milliwatts = gpu->power;
    return failed;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "energy", &gpu, &unit); /* an instance tells its GPU's: the worst it could do to us */
    if (!failed) *millijoules = gpu->energy;
    return failed;
}

int nvmlDeviceGetTotalEccErrors(void *handle, int kind, int counter, unsigned long long *count) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "ecc", &gpu);
    (void)counter;
    if (!failed) *count = kind == UNCORRECTED ? gpu->ecc : 0;
    return failed;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "clocks", &gpu);
    if (!failed) *reasons = gpu->clocks;
    return failed;
}

int nvmlDeviceGetFieldValues(void *handle, int count, field_value *values) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "fields", &gpu);
    if (failed) return failed;
    for (field_value *value = values; value < values + count; value++) {
        value->failed = value->field == RECOVERY_ACTION_FIELD ? SUCCESS : NOT_SUPPORTED;
        value->value_type = UNSIGNED_VALUE;
        value->value.number = gpu->recovery;
    }
    return SUCCESS;
}

/* ---- events: an event set gets those that came after it was made, of the devices and types registered in it ---- */

struct event_set {
    unsigned long last_serial;
    struct { uintptr_t handle; unsigned long long types; } registered[MAX_GPUS];
    unsigned registered_count;
    atomic_int waiting;
};

int nvmlEventSetCreate(struct event_set **set) {
    int failed = open_call();
    if (failed) return failed;
    *set = calloc(1, sizeof **set);
    if (state.event_count) (*set)->last_serial = state.events[state.event_count - 1].serial;
    return SUCCESS;
}

int nvmlEventSetFree(struct event_set *set) {
    if (!sessions) return UNINITIALIZED;
    forbid(set->waiting, "an event set was freed under a thread that waits for its events");
    free(set);
    return SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(void *handle, unsigned long long *types) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "events", &gpu);
    if (!failed) *types = gpu->events;
    return failed;
}

int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, struct event_set *set) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "register", &gpu);
    if (failed) return failed;
    if (types & ~gpu->events) return NOT_SUPPORTED;
    if (set->registered_count == MAX_GPUS) return INSUFFICIENT_SIZE;
    set->registered[set->registered_count].handle = (uintptr_t)handle;
    set->registered[set->registered_count++].types = types;
    return SUCCESS;
}

/* ---- what this library doesn't tell; monitors ask for it and complain where the function is missing ---- */

static int refuse(void) {
    int failed = open_call();
    return failed ? failed : NOT_SUPPORTED;
}

#define NOT_TOLD(name) int name() { return refuse(); }
NOT_TOLD(nvmlDeviceGetClockInfo)
NOT_TOLD(nvmlDeviceGetComputeMode)
NOT_TOLD(nvmlDeviceGetDecoderUtilization)
NOT_TOLD(nvmlDeviceGetDisplayActive)
NOT_TOLD(nvmlDeviceGetDriverModel)
NOT_TOLD(nvmlDeviceGetEncoderUtilization)
NOT_TOLD(nvmlDeviceGetEnforcedPowerLimit)
NOT_TOLD(nvmlDeviceGetFanSpeed)
NOT_TOLD(nvmlDeviceGetPerformanceState)
NOT_TOLD(nvmlDeviceGetPersistenceMode)
NOT_TOLD(nvmlDeviceGetPowerManagementLimit)
NOT_TOLD(nvmlDeviceGetProcessUtilization)

/* ---- who is on it ---- */

static int list_processes(void *handle, const char *kind, unsigned *count, process_info *infos) {
    struct gpu *gpu;
    struct unit *unit;
    unsigned room = *count, found = 0;
    int failed = enter(handle, "processes", &gpu, &unit);
    if (failed) return failed;
    for (unsigned i = 0; i < unit->process_count; i++) {
        const struct process *process = &unit->processes[i];
        if (strcmp(process->kind, kind)) continue;
        if (found < room)
            infos[found] = (process_info){
                .pid = process->pid,
                .used = process->mib < 0 ? ~0ULL : (unsigned long long)process->mib * MIB,
                .gpu_instance = ~0U,
                .compute_instance = ~0U,
            };
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, process_info *infos) {
    return list_processes(handle, "compute", count, infos);
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(void *handle, unsigned *count, process_info *infos) {
    return list_processes(handle, "graphics", count, infos);
}

#ifndef OLD_DRIVER

int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2 *memory) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "memory", &gpu, &unit);
    if (failed) return failed;
    if (memory->version != MEMORY_V2) return VERSION_MISMATCH;
    memory->total = unit->total_mib * MIB;
    memory->reserved = unit->reserved_mib * MIB;
    memory->used = unit->used_mib * MIB;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_info *infos) {
    return list_processes(handle, "compute", count, infos);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process_info *infos) {
    return list_processes(handle, "graphics", count, infos);
}

int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons) {
    return nvmlDeviceGetCurrentClocksThrottleReasons(handle, reasons);
}

static int is_registered(const struct event_set *set, const struct event *event) {
    for (unsigned i = 0; i < set->registered_count; i++)
        if ((set->registered[i].handle == event->handle || !event->handle) && set->registered[i].types & event->type) return 1;
    return 0;
}

/* The next event of the set, if there is one by now. */
static int take_event(struct event_set *set, event_data *data) {
    for (const struct event *event = state.events; event < state.events + state.event_count; event++) {
        if (event->serial <= set->last_serial) continue;
        set->last_serial = event->serial;
        if (!is_registered(set, event)) continue;
        *data = (event_data){(void *)event->handle, event->type, event->data, event->gpu_instance, event->compute_instance};
        return SUCCESS;
    }
    return TIMEOUT;
}

static unsigned long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

int nvmlEventSetWait_v2(struct event_set *set, event_data *data, unsigned timeout_ms) {
    unsigned long long end = now_ms() + timeout_ms;
    int outcome = open_call();
    set->waiting++;
    waiting++;
    while (!outcome) {
        outcome = state.wait_error ? state.wait_error : take_event(set, data);
        if (outcome != TIMEOUT || now_ms() >= end) break;
        sleep_ms(POLL_MS);
        outcome = read_state();
    }
    set->waiting--;
    waiting--;
    return outcome;
}

/* ---- MIG: a GPU cut into instances ---- */

int nvmlDeviceIsMigDeviceHandle(void *handle, unsigned *is_instance) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter(handle, "mig", &gpu, &unit);
    if (!failed) *is_instance = unit != &gpu->self;
    return failed;
}

/* As `enter`, for what exists for instances only. */
static int enter_instance(void *handle, struct gpu **gpu, struct unit **unit) {
    int failed = enter(handle, "mig", gpu, unit);
    if (failed) return failed;
    return *unit == &(*gpu)->self ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **whole) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter_instance(handle, &gpu, &unit);
    if (!failed) *whole = (void *)gpu->self.handle;
    return failed;
}

int nvmlDeviceGetGpuInstanceId(void *handle, unsigned *id) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter_instance(handle, &gpu, &unit);
    if (!failed) *id = unit->gpu_instance;
    return failed;
}

int nvmlDeviceGetComputeInstanceId(void *handle, unsigned *id) {
    struct gpu *gpu;
    struct unit *unit;
    int failed = enter_instance(handle, &gpu, &unit);
    if (!failed) *id = unit->compute_instance;
    return failed;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "mig", &gpu);
    if (!failed) *current = *pending = gpu->mig;
    return failed;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "mig", &gpu);
    if (!failed) *count = MAX_INSTANCES;
    return failed;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance) {
    struct gpu *gpu;
    int failed = enter_whole(handle, "mig", &gpu);
    if (failed) return failed;
    if (index >= gpu->instance_count || !gpu->instances[index].handle) return NOT_FOUND;
    *instance = (void *)gpu->instances[index].handle;
    return SUCCESS;
}

#endif
