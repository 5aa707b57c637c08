#include "base/names.hpp"
#include "claudy/client.hpp"
#include "claudy/job.hpp"
#include "claudy/reply.hpp"
#include "claudy/table.hpp"
#include "claudy/text_values.hpp"
#include "claudy/verbs.hpp"

#include <chrono>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs on the pool of warm workers. */
namespace hal::claudy {

namespace {

using nlohmann::json;

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
  const auto done = claudy::run_job(**bus, pool_method(member), arguments);
  if (!done && done.error().code == Errc::internal) {
    return Error{Errc::unavailable, done.error().message};  // the engine, mostly
  }
  return done ? Result<int>(0) : Result<int>(done.error());
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
