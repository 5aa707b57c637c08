#include "hub/hub_limits.hpp"
#include "hub/open_batches.hpp"
#include "hub/tasks.hpp"

#include <array>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::hub {
namespace {

constexpr ClientId a{1};
constexpr ClientId b{2};

OpenBatches::Verdict answer(OpenBatches& batches, const std::string& id, std::string_view text) {
  const std::array parts{text.substr(0, 1), text.substr(1)};
  return batches.answer(id, parts);
}

TEST(OpenBatches, keep_answers_until_the_last_has_come) {
  OpenBatches batches;
  batches.open({"1", "\"1\"", "1"});
  batches.open({"2"});
  EXPECT_EQ(answer(batches, "3", "{}"), OpenBatches::Verdict::alone);
  EXPECT_EQ(answer(batches, "1", "11"), OpenBatches::Verdict::kept);
  EXPECT_EQ(answer(batches, "2", "22"), OpenBatches::Verdict::complete);
  EXPECT_EQ(batches.take_complete(), "[22]");
  EXPECT_EQ(answer(batches, "\"1\"", "33"), OpenBatches::Verdict::kept);
  EXPECT_EQ(answer(batches, "1", "44"), OpenBatches::Verdict::complete);
  EXPECT_EQ(batches.take_complete(), "[11,33,44]");
  EXPECT_TRUE(batches.empty());
  EXPECT_EQ(answer(batches, "1", "55"), OpenBatches::Verdict::alone);
}

TEST(OpenBatches, do_not_wait_for_what_was_given_up) {
  OpenBatches batches;
  batches.open({"1", "2"});
  EXPECT_EQ(batches.give_up("9"), OpenBatches::Verdict::alone);
  EXPECT_EQ(batches.give_up("1"), OpenBatches::Verdict::kept);
  EXPECT_EQ(batches.give_up("2"), OpenBatches::Verdict::complete);
  EXPECT_EQ(batches.take_complete(), "");
  EXPECT_TRUE(batches.empty());
}

TEST(OpenBatches, keep_no_more_than_their_limit) {
  OpenBatches batches;
  batches.open({"1", "2", "3"});
  const std::string half(limits::batch_answer_bytes / 2 + 1, 'x');
  EXPECT_EQ(answer(batches, "1", half), OpenBatches::Verdict::kept);
  EXPECT_EQ(answer(batches, "2", half), OpenBatches::Verdict::alone);
  EXPECT_EQ(answer(batches, "3", "33"), OpenBatches::Verdict::complete);
  EXPECT_EQ(batches.take_complete(), "[" + half + ",33]");
  batches.open({"1", "2"});
  EXPECT_EQ(answer(batches, "1", half), OpenBatches::Verdict::kept) << "the first batch's bytes count no more";
}

TEST(Tasks, belong_to_one_client_and_are_bounded) {
  Tasks tasks;
  tasks.add({"t", a, 7, "\"token\""});
  EXPECT_TRUE(tasks.owned_by("t", a));
  EXPECT_FALSE(tasks.owned_by("t", b));
  EXPECT_EQ(tasks.find_number(7)->progress_token, "\"token\"");
  EXPECT_TRUE(tasks.any_working());
  tasks.ended("t");
  EXPECT_EQ(tasks.find_number(7)->progress_token, "");
  EXPECT_FALSE(tasks.any_working());
  EXPECT_TRUE(tasks.remove(a).empty());
  EXPECT_EQ(tasks.find("t"), nullptr);

  tasks.add({"of b", b, 1, ""});
  for (std::uint64_t i = 0; i <= limits::tasks_per_session; ++i) {
    tasks.add({std::to_string(i), a, 100 + i, ""});
  }
  EXPECT_EQ(tasks.find("0"), nullptr);
  EXPECT_NE(tasks.find("1"), nullptr);
  EXPECT_NE(tasks.find("of b"), nullptr);
  tasks.add({"1", b, 9000, ""});  // the server has given the id anew
  EXPECT_TRUE(tasks.owned_by("1", b));
  EXPECT_EQ(tasks.find_number(101), nullptr);
  EXPECT_EQ(tasks.remove(a).size(), limits::tasks_per_session - 1);
  EXPECT_EQ(tasks.size(), 2U);
}

TEST(Tasks, are_read_from_what_servers_say) {
  EXPECT_EQ(read_created_task(R"({"task":{"taskId":"t","status":"working"}})")->id, "t");
  EXPECT_FALSE(read_created_task(R"({"content":[]})"));
  EXPECT_FALSE(read_created_task("[]"));
  EXPECT_FALSE(read_task(R"({"taskId":5,"status":"working"})"));
  for (const auto* status : {"completed", "failed", "cancelled"}) {
    EXPECT_TRUE(read_task(R"({"taskId":"t","status":")" + std::string(status) + "\"}")->ended);
  }
  EXPECT_FALSE(read_task(R"({"taskId":"t","status":"input_required"})")->ended);
  EXPECT_EQ(read_related_task(R"({"taskId":"t"})"), "t");
  EXPECT_EQ(read_related_task("7"), "");
  EXPECT_EQ(own_tasks("{}", Tasks(), a), R"({"tasks":[]})");
}

}  // namespace
}  // namespace hal::hub
