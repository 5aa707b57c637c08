#include "component/engine_fake.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace hal::engine {
namespace {

using namespace std::chrono_literals;
using test::http;

class EngineLogs : public FakeEngine {
 protected:
  void logs(bool terminal, std::string bytes, bool slowly = false) {
    on("GET /containers/c1/json",
       http(200, std::string(R"({"Id":"c1","Config":{"Tty":)") + (terminal ? "true}}" : "false}}")));
    on("GET /containers/c1/logs", [bytes = std::move(bytes), slowly](const auto&, const auto& connection) {
      if (slowly) {
        connection->slowly();
      }
      connection->send(test::http_chunked() + test::chunk(bytes) + std::string(test::last_chunk));
    });
  }

  worker::OperationHandle read(UniqueFd sink, worker::LogOptions options = {}) {
    return client_->logs(ContainerId{"c1"}, options, std::move(sink), [this](Result<void> result) {
      EXPECT_FALSE(end_.has_value()) << "ended twice";
      end_ = std::move(result);
    });
  }

  /** Streams into a pipe and gives all that came out. */
  std::string text() {
    end_.reset();
    auto pipe = test::make_pipe();
    const auto handle = read(std::move(pipe.write));
    EXPECT_FALSE(end_.has_value()) << "ended inside the call";
    EXPECT_TRUE(wait([&] { return end_.has_value(); }));
    return test::read_all(pipe.read.get(), 1s);
  }

  std::optional<Result<void>> end_;
};

TEST_F(EngineLogs, frames_are_taken_apart_and_a_terminals_stream_is_not) {
  const std::string frames("\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n", 24);
  for (const bool slowly : {false, true}) {
    logs(false, frames, slowly);
    if (!client_) {
      start();
    }
    EXPECT_EQ(text(), "out\nerr\n");
    EXPECT_TRUE(*end_);
    logs(true, frames, slowly);
    EXPECT_EQ(text(), frames);
    EXPECT_TRUE(*end_);
  }
}

TEST_F(EngineLogs, bad_frames_end_it_with_an_error_after_what_was_good) {
  start();
  logs(false, std::string("\1\0\0\0\0\0\0\4out\n", 12) + "no frame at all");
  EXPECT_EQ(text(), "out\n");
  ASSERT_FALSE(*end_);
  EXPECT_EQ(end_->error().code, Errc::protocol);
  logs(false, std::string("\1\0\0\0\0\0\0\5out\n", 12));
  EXPECT_EQ(text(), "out\n");
  ASSERT_FALSE(*end_);
  EXPECT_EQ(end_->error().code, Errc::disconnected);
  logs(false, std::string("\1\0\0\0\0\0\0\4out\n\3\0\0\0\0\0\0\4bad!", 24));
  EXPECT_EQ(text(), "out\n");
  ASSERT_FALSE(*end_);
  EXPECT_NE(end_->error().message.find("bad!"), std::string::npos) << end_->error().message;
}

TEST_F(EngineLogs, an_engine_that_vanishes_in_the_middle_is_told) {
  start();
  logs(true, "");
  on("GET /containers/c1/logs", [](const auto&, const auto& connection) {
    connection->send(test::http_chunked() + test::chunk("half"));
    connection->finish();
  });
  EXPECT_EQ(text(), "half");
  ASSERT_FALSE(*end_);
  EXPECT_EQ(end_->error().code, Errc::unavailable);
}

TEST_F(EngineLogs, refusals_are_errors) {
  start();
  logs(true, "");
  on("GET /containers/c1/logs", http(501, R"({"message":"the log driver cannot be read"})"));
  EXPECT_EQ(text(), "");
  ASSERT_FALSE(*end_);
  EXPECT_EQ(end_->error().code, Errc::unavailable);
  on("GET /containers/c1/json", http(404, R"({"message":"no such container"})"));
  EXPECT_EQ(text(), "");
  EXPECT_EQ(end_->error().code, Errc::not_found);
  server_.vanish();
  ASSERT_TRUE(wait_down());
  EXPECT_EQ(text(), "");
  EXPECT_EQ(end_->error().code, Errc::unavailable);
}

TEST_F(EngineLogs, options_are_passed_on) {
  start();
  logs(true, "x");
  auto pipe = test::make_pipe();
  const auto handle = read(std::move(pipe.write), {.follow = true, .tail = 7, .timestamps = true});
  ASSERT_TRUE(wait([&] { return end_.has_value(); }));
  EXPECT_EQ(server_.seen().back(), "GET /v1.41/containers/c1/logs?stdout=1&stderr=1&follow=1&timestamps=1&tail=7");
}

TEST_F(EngineLogs, a_full_sink_slows_the_engine_down) {
  start();
  constexpr std::size_t size = std::size_t{4} << 20;
  Connection stream;
  logs(true, "");
  on("GET /containers/c1/logs", [&](const auto&, const auto& connection) {
    stream = connection;
    connection->send(test::http_chunked() + test::chunk(std::string(size, 'x')) + std::string(test::last_chunk));
  });
  auto pipe = test::make_pipe();
  const auto handle = read(std::move(pipe.write));
  ASSERT_TRUE(wait([&] { return stream != nullptr && stream->queued() < size; }));
  test::run_ready(loop_);
  EXPECT_GT(stream->queued(), size / 2);
  EXPECT_FALSE(end_.has_value());
  std::size_t total = 0;
  const event::Io source(loop_, pipe.read.get(), EPOLLIN, "test:sink", [&](std::uint32_t) {
    char buffer[10'000];
    const auto bytes = ::read(pipe.read.get(), buffer, sizeof buffer);
    total += bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
  });
  ASSERT_TRUE(wait([&] { return total == size && end_.has_value(); })) << total;
  EXPECT_TRUE(*end_);
}

TEST_F(EngineLogs, a_sink_that_cannot_be_waited_for_is_refused) {
  start();
  logs(true, "x");
  const auto path = dir_.write("file", "");
  const auto handle = read(UniqueFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC)));
  EXPECT_FALSE(end_.has_value());
  ASSERT_TRUE(wait([&] { return end_.has_value(); }));
  ASSERT_FALSE(*end_);
  EXPECT_EQ(end_->error().code, Errc::invalid_argument);
}

TEST_F(EngineLogs, a_reader_that_leaves_ends_it_even_in_silence) {
  start();
  logs(true, "");
  Connection stream;
  on("GET /containers/c1/logs", [&](const auto&, const auto& connection) {
    stream = connection;
    connection->send(test::http_chunked());
  });
  auto pipe = test::make_pipe();
  const auto handle = read(std::move(pipe.write), {.follow = true});
  ASSERT_TRUE(wait([&] { return stream != nullptr; }));
  pipe.read.reset();
  ASSERT_TRUE(wait([&] { return end_.has_value() && stream->peer_gone(); }));
  EXPECT_TRUE(*end_);
}

TEST_F(EngineLogs, handle_and_client_may_go_in_any_order) {
  start();
  logs(true, "");
  on("GET /containers/c1/logs", [](const auto&, const auto&) {});
  auto pipe = test::make_pipe();
  auto handle = read(std::move(pipe.write), {.follow = true});
  test::run_ready(loop_);
  handle.reset();
  EXPECT_EQ(test::read_all(pipe.read.get(), 1s), "");
  pipe = test::make_pipe();
  handle = read(std::move(pipe.write), {.follow = true});
  test::run_ready(loop_);
  client_.reset();
  handle.reset();
  test::run_ready(loop_);
  EXPECT_FALSE(end_.has_value());
}

TEST_F(EngineLogs, the_handle_may_go_in_the_completion) {
  start();
  logs(true, "x");
  auto pipe = test::make_pipe();
  worker::OperationHandle handle;
  bool ended = false;
  handle = client_->logs(ContainerId{"c1"}, {}, std::move(pipe.write), [&](const Result<void>&) {
    handle.reset();
    ended = true;
  });
  ASSERT_TRUE(wait([&] { return ended; }));
}

}  // namespace
}  // namespace hal::engine
