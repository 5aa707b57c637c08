#include "metrics/figures.hpp"

#include "claudy/client.hpp"
#include "metrics/exposition.hpp"

#include <map>
#include <string_view>

#include <nlohmann/json.hpp>

namespace hal::metrics {

namespace {

using claudy::number_of;
using claudy::text_of;
using nlohmann::json;
using Type = Exposition::Type;
using Labels = Exposition::Labels;

constexpr double nsec_per_second = 1e9;

bool flag(const json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_boolean() && member->get<bool>();
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets_of(const json& object, const char* key) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets;
  const auto member = object.find(key);
  for (const auto& bucket : member != object.end() ? *member : json::array()) {
    if (bucket.is_array() && bucket.size() == 2 && bucket[0].is_number_unsigned() && bucket[1].is_number_unsigned()) {
      buckets.emplace_back(bucket[0].get<std::uint64_t>(), bucket[1].get<std::uint64_t>());
    }
  }
  return buckets;
}

void manager(Exposition& out, const json& manager) {
  out.family("hal9000", Type::info, "Of the daemon.");
  out.info({{"version", text_of(manager, "version")}});
  out.family("hal9000_state", Type::stateset, "What the daemon says of the whole.");
  out.states({}, {"starting", "running", "degraded", "stopping"}, text_of(manager, "state"));
  out.family("hal9000_engine_up", Type::gauge, "Whether the container engine answers.");
  out.sample({}, std::uint64_t{flag(manager.value("engine", json::object()), "available")});
}

void workers(Exposition& out, const json& workers) {
  std::map<std::string, std::uint64_t> by_state;
  for (const auto* state : {"creating", "warm", "running", "unhealthy", "stopping", "exited", "failed"}) {
    by_state[state] = 0;
  }
  for (const auto& worker : workers) {
    ++by_state[text_of(worker, "state")];
  }
  out.family("hal9000_workers", Type::gauge, "Workers by state.");
  for (const auto& [state, count] : by_state) {
    out.sample({{"state", state}}, count);
  }
  struct Family {
    const char* name;
    Type type;
    const char* help;
    const char* unit;
    const char* key;
    bool nanoseconds = false;
  };
  static constexpr Family families[] = {
      {"hal9000_worker_memory_bytes", Type::gauge, "Memory that a worker uses.", "bytes", "memory_current"},
      {"hal9000_worker_memory_max_bytes", Type::gauge, "Memory that it may use.", "bytes", "memory_max"},
      {"hal9000_worker_cpu_seconds", Type::counter, "Time of processors it used.", "seconds", "cpu_usage_nsec", true},
      {"hal9000_worker_tasks", Type::gauge, "Its threads and processes.", "", "tasks_current"},
      {"hal9000_worker_tasks_max", Type::gauge, "Threads and processes it may have.", "", "tasks_max"},
      {"hal9000_worker_restarts", Type::counter, "How often it was made anew.", "", "restarts"},
  };
  for (const auto& family : families) {
    out.family(family.name, family.type, family.help, family.unit);
    for (const auto& worker : workers) {
      const auto id = text_of(worker, "id");
      const auto owner = std::to_string(number_of(worker, "owner"));
      const auto profile = text_of(worker, "profile");
      const Labels labels{{"worker", id}, {"owner", owner}, {"profile", profile}};
      const auto value = number_of(worker, family.key);
      if (family.nanoseconds) {
        out.sample(labels, static_cast<double>(value) / nsec_per_second);
      } else {
        out.sample(labels, value);
      }
    }
  }
}

void pool(Exposition& out, const json& pool) {
  struct Family {
    const char* name;
    const char* help;
    const char* key;
  };
  static constexpr Family families[] = {
      {"hal9000_pool_min", "Workers that are always kept warm.", "min"},
      {"hal9000_pool_max", "Workers that demand may raise this to.", "max"},
      {"hal9000_pool_target", "Workers that shall be warm.", "target"},
      {"hal9000_pool_warm", "Workers that are.", "warm"},
      {"hal9000_pool_starting", "Workers being made for the pool.", "starting"},
      {"hal9000_pool_claimed", "Workers that were claimed and live.", "claimed"},
  };
  for (const auto& family : families) {
    out.family(family.name, Type::gauge, family.help);
    out.sample({}, number_of(pool, family.key));
  }
  out.family("hal9000_pool_pressure", Type::stateset, "The host's memory pressure.");
  out.states({}, {"none", "some", "full", "unknown"}, text_of(pool, "pressure"));
  out.family("hal9000_pool_claims", Type::counter, "Spawns that a warm worker would serve: there was one, or none.");
  out.sample({{"result", "hit"}}, number_of(pool, "hits"));
  out.sample({{"result", "miss"}}, number_of(pool, "misses"));
  out.family("hal9000_pool_claim_seconds", Type::histogram, "From a claim to the running command.", "seconds");
  out.histogram({}, buckets_of(pool, "claim_times"));
}

void servers(Exposition& out, const json& servers) {
  out.family("hal9000_server_state", Type::stateset, "What the MCP server does.");
  for (const auto& server : servers) {
    const auto name = text_of(server, "name");
    out.states({{"server", name}}, {"stopped", "starting", "running", "backoff", "failed"}, text_of(server, "state"));
  }
  struct Family {
    const char* name;
    Type type;
    const char* help;
    const char* key;
    const char* unit = "";
  };
  static constexpr Family families[] = {
      {"hal9000_server_sessions", Type::gauge, "Sessions of workers now.", "sessions"},
      {"hal9000_server_restarts", Type::counter, "Processes that ended by themselves and were replaced.", "restarts"},
      {"hal9000_server_requests", Type::counter, "Requests passed on to it.", "requests"},
      {"hal9000_server_errors", Type::counter, "Requests that ended in an error.", "errors"},
      {"hal9000_server_tool_calls", Type::counter, "Calls of tools, refused ones among them.", "tool_calls"},
      {"hal9000_server_refused_calls", Type::counter, "Calls of tools that a rule refused.", "refused_calls"},
      {"hal9000_server_received_bytes", Type::counter, "Of messages to it.", "bytes_received", "bytes"},
      {"hal9000_server_sent_bytes", Type::counter, "Of messages from it.", "bytes_sent", "bytes"},
  };
  for (const auto& family : families) {
    out.family(family.name, family.type, family.help, family.unit);
    for (const auto& server : servers) {
      out.sample({{"server", text_of(server, "name")}}, number_of(server, family.key));
    }
  }
  out.family("hal9000_server_answer_seconds", Type::histogram, "How long its answers took.", "seconds");
  for (const auto& server : servers) {
    out.histogram({{"server", text_of(server, "name")}}, buckets_of(server, "latency"));
  }
}

void parent(Exposition& out, const json& parent) {
  out.family("hal9000_parent_up", Type::gauge, "Whether the parent container runs.");
  out.sample({}, std::uint64_t{text_of(parent, "state") == "running"});
  out.family("hal9000_chroma_up", Type::gauge, "Whether ChromaDB answers.");
  out.sample({}, std::uint64_t{text_of(parent, "chroma_health") == "healthy"});
}

}  // namespace

std::string render(const Figures& figures) {
  Exposition out;
  out.family("hal9000_up", Type::gauge, "Whether the daemon runs and answers.");
  out.sample({}, std::uint64_t{figures.trouble.empty()});
  if (figures.trouble.empty() && figures.manager != nullptr && figures.objects != nullptr) {
    manager(out, *figures.manager);
    parent(out, figures.objects->value("parent", json::object()));
    pool(out, figures.objects->value("pool", json::object()));
    workers(out, figures.objects->value("workers", json::array()));
    servers(out, figures.objects->value("servers", json::array()));
  }
  out.family("hal9000_unit_memory_bytes", Type::gauge, "Memory of the system's units, MCP servers' among them.",
             "bytes");
  for (const auto& [unit, bytes] : figures.unit_memory) {
    out.sample({{"unit", unit}}, bytes);
  }
  return out.finish();
}

}  // namespace hal::metrics
