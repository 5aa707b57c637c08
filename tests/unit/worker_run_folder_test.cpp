#include "worker/container_spec.hpp"
#include "worker/run_folder.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace hal::worker {
namespace {

class RunFolder : public testing::Test {
 protected:
  RunFolder() {
    char name[] = "/tmp/hal9000-run-XXXXXX";
    settings.run_dir = ::mkdtemp(name);
    std::filesystem::create_directory(settings.run_dir + "/worker");
    worker.id = {"0123456789ab"};
    worker.servers = {"memory"};
  }
  ~RunFolder() override { std::filesystem::remove_all(settings.run_dir); }

  std::string file(const std::string& name) const {
    std::ifstream in(run_folder(settings, worker.id) + "/" + name);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  Settings settings;
  Worker worker;
};

TEST_F(RunFolder, the_token_is_the_workers_and_stays) {
  ASSERT_TRUE(make_run_folder(settings, worker).has_value());
  const auto token = worker_token(settings, worker.id);
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ(token->rfind("0123456789ab.", 0), 0U);
  EXPECT_EQ(token->size(), 12U + 1 + 64);
  EXPECT_EQ(file("token"), *token);
  ASSERT_TRUE(make_run_folder(settings, worker).has_value());  // a restart of the worker
  EXPECT_EQ(worker_token(settings, worker.id).value_or(""), *token);
}

TEST_F(RunFolder, a_damaged_token_is_made_anew) {
  ASSERT_TRUE(make_run_folder(settings, worker).has_value());
  const auto token = *worker_token(settings, worker.id);
  for (const auto& damaged : {std::string(), token.substr(1), token + "0", "x" + token.substr(1)}) {
    std::ofstream(run_folder(settings, worker.id) + "/token") << damaged;
    const auto fresh = worker_token(settings, worker.id);
    ASSERT_TRUE(fresh.has_value());
    EXPECT_NE(*fresh, damaged);
    EXPECT_NE(*fresh, token);
    EXPECT_EQ(file("token"), *fresh);
  }
}

TEST_F(RunFolder, no_two_workers_have_one_token) {
  ASSERT_TRUE(make_run_folder(settings, worker).has_value());
  const auto one = file("token");
  worker.id = {"ab0123456789"};
  ASSERT_TRUE(make_run_folder(settings, worker).has_value());
  EXPECT_NE(file("token").substr(13), one.substr(13));
}

TEST_F(RunFolder, nothing_stays_behind) {
  ASSERT_TRUE(make_run_folder(settings, worker).has_value());
  remove_run_folder(settings, worker.id);
  EXPECT_FALSE(std::filesystem::exists(run_folder(settings, worker.id)));
}

}  // namespace
}  // namespace hal::worker
