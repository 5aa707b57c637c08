#pragma once

#include "worker/live_pool.hpp"
#include "worker_support.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::test {

/** A pool over the real registry and a fake engine. */
struct PoolFixture : public RegistryFixture {
  PoolFixture() {
    settings.pool = {.min = 2, .max = 5, .idle_timeout = 300s};
    make_pool();
  }

  void make_pool() {
    pool.reset();
    pool = std::make_unique<worker::LivePool>(
        worker::LivePool::Parts{loop, *registry, runtime, settings, [this] {
                                  return !runtime.up() ? "the engine is away" : parent.value.empty() ? "no parent" : "";
                                }});
  }

  /** As after a crash: registry and pool begin anew. */
  void restart_all() {
    pool.reset();
    restart_daemon();
    make_pool();
    ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  }

  void until_warm(std::uint32_t count) {
    ASSERT_TRUE(run_until(loop, [&] { return pool->status().warm == count && pool->status().starting == 0; }))
        << pool->status().warm << " warm, " << pool->status().starting << " starting: " << pool->status().reason;
  }
  void start(std::uint32_t count = 2) {
    pool->start();
    until_warm(count);
  }

  Result<WorkerId> claim(const std::string& path, const std::function<void(worker::SpawnRequest&)>& edit = {}) {
    return spawn(path, [&edit](worker::SpawnRequest& request) {
      request.claim = worker::Claim::require;
      if (edit) {
        edit(request);
      }
    });
  }

  std::vector<WorkerId> warm_ids() const {
    std::vector<WorkerId> ids;
    for (const auto& one : registry->stock()) {
      ids.push_back(one.id);
    }
    return ids;
  }

  std::size_t count(const std::string& call) const {
    return static_cast<std::size_t>(std::count(runtime.calls.begin(), runtime.calls.end(), call));
  }

  std::unique_ptr<worker::LivePool> pool;
};

}  // namespace hal::test
