#include "base/names.hpp"
#include "claudy/client.hpp"
#include "claudy/reply.hpp"
#include "claudy/table.hpp"
#include "claudy/text_values.hpp"
#include "claudy/verbs.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs on the pool of warm workers. */
namespace hal::claudy {

namespace {

using nlohmann::json;

/** Making a whole pool on a slow machine. */
constexpr auto job_timeout = std::chrono::minutes(10);

std::string pool_text(const json& pool) {
  const auto number = [&pool](const char* key) { return std::to_string(number_of(pool, key)); };
  const auto idle = std::chrono::microseconds(number_of(pool, "idle_timeout_usec"));
  return pairs({
      {"warm", fmt::format("{} of {}", number("warm"), number("target"))},
      {"starting", number("starting")},
      {"claimed", number("claimed")},
      {"bounds", fmt::format("{} to {}", number("min"), number("max"))},
      {"idle timeout", fmt::format("{:g}s", std::chrono::duration<double>(idle).count())},
      {"hits", number("hits")},
      {"misses", number("misses")},
      {"pressure", text_of(pool, "pressure")},
      {"reason", text_of(pool, "reason")},
  });
}

/** Calls a method that answers with a job, and waits for its end. */
Result<int> run_job(const Global& global, const std::string& member, const std::vector<Argument>& arguments) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  // Before the call: the job may be over when its answer comes.
  const auto ended = std::make_shared<std::map<std::string, std::string>>();
  const auto subscribed =
      (*bus)->subscribe(fmt::format("type='signal',sender='{}',path='{}',interface='{}',member='JobRemoved'",
                                    names::bus_name, names::root_path, manager_interface),
                        [ended](const std::string&, const json& body) {
                          if (body.size() == 3 && body[1].is_string() && body[2].is_string()) {
                            (*ended)[body[1].get<std::string>()] = body[2].get<std::string>();
                          }
                        });
  if (!subscribed) {
    return subscribed.error();
  }
  const auto reply = (*bus)->call(pool_method(member), arguments);
  if (!reply) {
    return reply.error();
  }
  const auto path = reply->body().at(0).get<std::string>();
  if (!(*bus)->wait_until([&] { return ended->contains(path); }, job_timeout)) {
    return Error{Errc::timed_out, "the pool is still busy: see `claudy pool status`"};
  }
  const auto& result = (*ended)[path];
  if (result == "done") {
    return 0;
  }
  const auto job = properties(**bus, path, job_interface);
  const auto code = result == "cancelled"   ? Errc::cancelled
                    : result == "timed_out" ? Errc::timed_out
                                            : Errc::unavailable;
  return Error{code, job ? text_of(*job, "message") : result};
}

Result<int> call(const Global& global, const std::string& member, const std::vector<Argument>& arguments) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto reply = (*bus)->call(pool_method(member), arguments);
  return reply ? Result<int>(0) : Result<int>(reply.error());
}

}  // namespace

Result<int> show_pool(const Global& global, const ListOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto read = [](Bus& connection) { return properties(connection, names::pool_path, pool_interface); };
  return show_listing(**bus, options, {read, pool_text});
}

Result<int> scale_pool(const Global& global, const PoolScaleOptions& options) {
  Options settings;
  if (options.min) {
    settings.emplace_back("min", *options.min);
  }
  if (options.max) {
    settings.emplace_back("max", *options.max);
  }
  if (options.idle_timeout) {
    const auto idle = std::chrono::duration_cast<std::chrono::microseconds>(*options.idle_timeout);
    settings.emplace_back("idle_timeout_usec", static_cast<std::uint64_t>(idle.count()));
  }
  return call(global, "Configure", {Argument(std::move(settings))});
}

Result<int> warm_pool(const Global& global, const PoolWarmOptions& options) {
  auto count = options.count;
  if (!count) {
    const auto bus = Bus::open(global.user);
    const auto pool = bus ? properties(**bus, names::pool_path, pool_interface) : Result<json>(bus.error());
    if (!pool) {
      return pool.error();
    }
    count = static_cast<std::uint32_t>(number_of(*pool, "max"));
  }
  return run_job(global, "Warm", {Value(*count)});
}

Result<int> drain_pool(const Global& global) {
  return run_job(global, "Drain", {});
}

Result<int> clean_pool(const Global& global) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto reply = (*bus)->call(pool_method("Cleanup"));
  if (!reply) {
    return reply.error();
  }
  const auto printed = print(fmt::format("{}\n", reply->body().at(0).get<std::uint32_t>()));
  return printed ? Result<int>(0) : Result<int>(printed.error());
}

}  // namespace hal::claudy
