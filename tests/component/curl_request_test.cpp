#include "component/curl_script_server.hpp"
#include "curl/request.hpp"
#include "support/component.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace hal::curl {
namespace {

using namespace std::chrono_literals;
using test::chunk;
using test::http;
using test::http_chunked;
using test::run_until;
using test::ScriptServer;

class CurlRequest : public ::testing::Test {
 protected:
  [[nodiscard]] RequestSpec spec(std::string target = "/") const {
    RequestSpec spec;
    spec.url = "http://test.localhost" + target;
    spec.unix_socket = server_.path();
    return spec;
  }

  Request::Callbacks collect() {
    return {.on_done =
                [this](Result<Response> result) {
                  ++completions_;
                  result_ = std::move(result);
                },
            .on_headers = nullptr,
            .on_data = nullptr};
  }

  /** Sends the request and waits for its completion. */
  Result<Response> perform(RequestSpec request_spec) {
    result_.reset();
    const Request request(multi_, std::move(request_spec), collect());
    EXPECT_FALSE(result_.has_value()) << "completed inside the constructor";
    if (!run_until(loop_, [this] { return result_.has_value(); })) {
      return Error{Errc::internal, "the test waited in vain"};
    }
    return std::move(*result_);
  }

  void answer(std::string bytes, bool close = false) {
    server_.set_script([bytes = std::move(bytes), close](const auto&, const auto& connection) {
      connection->send(bytes);
      if (close) {
        connection->finish();
      }
    });
  }

  event::Loop loop_;
  test::TempDir dir_;
  ScriptServer server_{loop_, dir_ / "socket", nullptr};
  Multi multi_{loop_};
  std::optional<Result<Response>> result_;
  int completions_ = 0;
};

TEST_F(CurlRequest, brings_status_headers_and_body) {
  answer(http(404, "gone", "X-Thing:  a b \r\n"));
  const auto response = perform(spec());
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 404);
  EXPECT_EQ(response->body, "gone");
  ASSERT_NE(response->header("x-thing"), nullptr);
  EXPECT_EQ(*response->header("x-thing"), "a b");
  EXPECT_EQ(response->header("x-other"), nullptr);
}

TEST_F(CurlRequest, sends_method_path_headers_and_body_as_given) {
  ScriptServer::Request got;
  server_.set_script([&got](const auto& request, const auto& connection) {
    got = request;
    connection->send(http(204, ""));
  });
  auto request = spec("/a/../b?x=" + escape("ü&/ "));
  request.method = "DELETE";
  request.headers = {"X-Mine: 1"};
  request.body = std::string(2 << 20, 'b');
  const auto response = perform(std::move(request));
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(got.method, "DELETE");
  EXPECT_EQ(got.target, "/a/../b?x=%C3%BC%26%2F%20");
  EXPECT_NE(got.header.find("X-Mine: 1\r\n"), std::string::npos);
  EXPECT_EQ(got.header.find("Expect"), std::string::npos);
  EXPECT_EQ(got.body.size(), std::size_t{2} << 20);
}

TEST_F(CurlRequest, a_post_without_body_is_complete) {
  answer(http(204, ""));
  auto request = spec();
  request.method = "POST";
  const auto response = perform(std::move(request));
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 204);
  EXPECT_EQ(server_.seen(), std::vector<std::string>{"POST /"});
}

TEST_F(CurlRequest, interim_answers_are_not_the_answer) {
  answer("HTTP/1.1 102 wait\r\nX-Interim: 1\r\n\r\n" + http(200, "now"));
  const auto response = perform(spec());
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->header("x-interim"), nullptr);
}

TEST_F(CurlRequest, pieces_of_one_byte_make_the_same_answer) {
  server_.set_script([](const auto&, const auto& connection) {
    connection->slowly();
    connection->send(http_chunked() + chunk("hello ") + chunk("world") + "0\r\nTrailer: 1\r\n\r\n");
  });
  const auto response = perform(spec());
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "hello world");
}

TEST_F(CurlRequest, a_cut_anywhere_is_an_error_and_never_an_answer) {
  const auto whole = http(200, "0123456789");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    answer(whole.substr(0, length), true);
    const auto response = perform(spec());
    ASSERT_FALSE(response) << "cut after " << length << " bytes";
    // The status line alone may look like another protocol's.
    EXPECT_TRUE(response.error().code == Errc::disconnected || response.error().code == Errc::protocol)
        << length << ": " << response.error().message;
  }
  EXPECT_EQ(static_cast<std::size_t>(completions_), whole.size());
}

TEST_F(CurlRequest, garbage_is_a_protocol_error) {
  answer("\x01\x02\xff not http\n\n", true);
  const auto response = perform(spec());
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::protocol) << response.error().message;
}

TEST_F(CurlRequest, a_body_over_the_limit_is_refused_whether_announced_or_not) {
  for (const auto& bytes : {http(200, std::string(1001, 'x')), http_chunked() + chunk(std::string(1001, 'x'))}) {
    answer(bytes);
    auto request = spec();
    request.max_body_bytes = 1000;
    const auto response = perform(std::move(request));
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().code, Errc::limit);
  }
  answer(http(200, std::string(1000, 'x')));
  auto request = spec();
  request.max_body_bytes = 1000;
  EXPECT_TRUE(perform(std::move(request)));
}

TEST_F(CurlRequest, a_header_without_end_is_refused) {
  answer("HTTP/1.1 200 x\r\n" + std::string(100, 'a') + ": " + std::string(40'000, 'b') + "\r\n\r\n");
  const auto response = perform(spec());
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::limit) << response.error().message;
}

TEST_F(CurlRequest, silence_times_out_in_every_phase) {
  const std::string before_header;
  const auto in_header = std::string("HTTP/1.1 200 x\r\nContent-Le");
  const auto in_body = http(200, "0123456789").substr(0, 40);
  for (const auto& sent : {before_header, in_header, in_body}) {
    answer(sent);
    auto request = spec();
    request.deadlines.total = 50ms;
    const auto response = perform(std::move(request));
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().code, Errc::timed_out) << response.error().message;
  }
}

TEST_F(CurlRequest, the_answer_deadline_ends_with_the_header) {
  answer("HTTP/1.1 200 x\r\n");
  auto request = spec();
  request.deadlines.answer = 50ms;
  const auto late = perform(std::move(request));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::timed_out);

  std::unique_ptr<event::Timer> timer;  // completes the body well after the deadline for the header
  server_.set_script([this, &timer](const auto&, const auto& connection) {
    connection->send("HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\na");
    timer = std::make_unique<event::Timer>(loop_, "test", [connection] { connection->send("b"); });
    timer->arm(1200ms);
  });
  request = spec();
  request.deadlines.answer = 1000ms;
  const auto response = perform(std::move(request));
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "ab");
}

TEST_F(CurlRequest, the_idle_deadline_runs_between_pieces) {
  answer(http_chunked() + chunk("a"));
  auto request = spec();
  request.deadlines.idle = 50ms;
  const auto response = perform(std::move(request));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::timed_out);
}

TEST_F(CurlRequest, an_absent_socket_is_unavailable_and_named) {
  server_.vanish();
  const auto response = perform(spec());
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::unavailable);
  EXPECT_NE(response.error().message.find(server_.path()), std::string::npos) << response.error().message;
  EXPECT_NE(response.error().message.find("No such file"), std::string::npos) << response.error().message;
}

TEST_F(CurlRequest, destruction_cancels_at_once_and_silently) {
  ScriptServer::ConnectionPtr connection;
  server_.set_script([&connection](const auto&, const auto& c) { connection = c; });
  const auto fds = test::open_fds();
  {
    const Request request(multi_, spec(), collect());
    ASSERT_TRUE(run_until(loop_, [&] { return connection != nullptr; }));
  }
  ASSERT_TRUE(run_until(loop_, [&] { return connection->peer_gone(); }));
  EXPECT_EQ(completions_, 0);
  connection.reset();
  EXPECT_EQ(test::open_fds(), fds);
}

TEST_F(CurlRequest, may_be_destroyed_in_each_of_its_callbacks) {
  const auto bytes = http_chunked() + chunk("some data") + std::string(test::last_chunk);
  for (const std::string place : {"headers", "data", "done"}) {
    answer(bytes);
    std::unique_ptr<Request> request;
    bool reached = false;
    int later = 0;
    const auto end = [&](std::string_view here) {
      later += reached ? 1 : 0;
      if (here == place) {
        request.reset();
        reached = true;
      }
    };
    request = std::make_unique<Request>(multi_, spec(),
                                        Request::Callbacks{.on_done = [&](const Result<Response>&) { end("done"); },
                                                           .on_headers = [&](const Response&) { end("headers"); },
                                                           .on_data =
                                                               [&](std::string_view data) {
                                                                 end("data");
                                                                 return data.size();
                                                               }});
    ASSERT_TRUE(run_until(loop_, [&] { return reached; })) << place;
    test::run_ready(loop_);
    EXPECT_EQ(later, 0) << "something was called after destruction in " << place;
  }
}

TEST_F(CurlRequest, a_stream_waits_for_its_receiver_and_loses_nothing) {
  constexpr std::size_t size = std::size_t{8} << 20;
  std::string sent(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    sent[i] = static_cast<char>(i * 31 % 251);
  }
  ScriptServer::ConnectionPtr connection;
  server_.set_script([&](const auto&, const auto& c) {
    connection = c;
    c->send(http_chunked());
    for (std::size_t at = 0; at < size; at += 100'000) {
      c->send(chunk(std::string_view(sent).substr(at, 100'000)));
    }
    c->send(test::last_chunk);
  });
  std::string got;
  bool take = false;
  bool offered = false;
  auto callbacks = collect();
  callbacks.on_data = [&](std::string_view data) -> std::size_t {
    offered = true;
    if (!take) {
      return 0;
    }
    take = false;  // one bite of an odd size, then wait again
    const auto bite = std::min<std::size_t>(data.size(), 33'333);
    got += data.substr(0, bite);
    return bite;
  };
  Request request(multi_, spec(), std::move(callbacks));
  ASSERT_TRUE(run_until(loop_, [&] { return offered; }));
  test::run_ready(loop_);
  EXPECT_GT(connection->queued(), size / 2) << "the sender was not slowed down";
  EXPECT_FALSE(result_.has_value());
  while (!result_) {
    take = true;
    request.resume();
    ASSERT_TRUE(run_until(loop_, [&] { return !take || result_.has_value(); }));
  }
  ASSERT_TRUE(*result_) << result_->error().message;
  EXPECT_EQ(got, sent);
  EXPECT_EQ(completions_, 1);
}

TEST_F(CurlRequest, a_stream_that_is_cut_delivers_what_came_and_then_the_error) {
  answer(http_chunked() + chunk("first"), true);
  std::string got;
  bool take = false;
  auto callbacks = collect();
  callbacks.on_data = [&](std::string_view data) {
    got = take ? data : "";
    return take ? data.size() : 0;
  };
  Request request(multi_, spec(), std::move(callbacks));
  test::run_ready(loop_);
  EXPECT_FALSE(result_.has_value()) << "the end overtook the data";
  take = true;
  request.resume();
  ASSERT_TRUE(run_until(loop_, [&] { return result_.has_value(); }));
  EXPECT_EQ(got, "first");
  ASSERT_FALSE(*result_);
  EXPECT_EQ(result_->error().code, Errc::disconnected);
}

TEST_F(CurlRequest, the_body_of_an_error_is_collected_and_not_streamed) {
  answer(http(500, "why"));
  auto callbacks = collect();
  callbacks.on_data = [](std::string_view data) {
    ADD_FAILURE() << "streamed: " << data;
    return data.size();
  };
  const Request request(multi_, spec(), std::move(callbacks));
  ASSERT_TRUE(run_until(loop_, [&] { return result_.has_value(); }));
  ASSERT_TRUE(*result_);
  EXPECT_EQ((*result_)->body, "why");
}

TEST_F(CurlRequest, connections_are_kept_only_where_wanted) {
  answer(http(200, ""));
  ASSERT_TRUE(perform(spec()));
  ASSERT_TRUE(perform(spec()));
  EXPECT_EQ(server_.accepted(), 1U);
  auto fresh = spec();
  fresh.reuse_connection = false;
  ASSERT_TRUE(perform(std::move(fresh)));
  EXPECT_EQ(server_.accepted(), 2U);
}

TEST_F(CurlRequest, many_at_once_all_complete_once) {
  server_.set_script([](const auto& request, const auto& connection) { connection->send(http(200, request.target)); });
  constexpr int count = 50;
  std::vector<std::unique_ptr<Request>> requests;
  std::vector<std::string> bodies(count);
  for (int i = 0; i < count; ++i) {
    requests.push_back(std::make_unique<Request>(multi_, spec("/" + std::to_string(i)),
                                                 Request::Callbacks{.on_done =
                                                                        [this, &bodies, i](Result<Response> response) {
                                                                          ++completions_;
                                                                          bodies[static_cast<std::size_t>(i)] =
                                                                              response ? response->body : "";
                                                                        },
                                                                    .on_headers = nullptr,
                                                                    .on_data = nullptr}));
  }
  ASSERT_TRUE(run_until(loop_, [&] { return completions_ >= count; }));
  test::run_ready(loop_);
  EXPECT_EQ(completions_, count);
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(bodies[static_cast<std::size_t>(i)], "/" + std::to_string(i));
  }
}

TEST_F(CurlRequest, an_exception_of_a_receiver_ends_the_loop_instead_of_crossing_libcurl) {
  answer(http_chunked() + chunk("x"));
  auto callbacks = collect();
  callbacks.on_data = [](std::string_view) -> std::size_t { throw std::runtime_error("receiver is broken"); };
  const Request request(multi_, spec(), std::move(callbacks));
  EXPECT_FALSE(run_until(loop_, [] { return false; }));
  EXPECT_EQ(loop_.run(), EXIT_FAILURE);
}

/** A server on TCP that can be reached only by a socket from its own network namespace is the engine suite's. */
TEST_F(CurlRequest, connects_the_socket_it_is_given) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);

  UniqueFd given(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Bound to an address of its own, so that the server can tell that it was this socket.
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  ASSERT_EQ(::bind(given.get(), reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
  RequestSpec request_spec;
  request_spec.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  request_spec.socket = std::move(given);
  const Request request(multi_, std::move(request_spec), collect());

  UniqueFd connection;
  const event::Io source(loop_, listener.get(), EPOLLIN, "test:accept", [&](std::uint32_t) {
    socklen_t peer_length = sizeof own;
    connection = UniqueFd(::accept4(listener.get(), reinterpret_cast<sockaddr*>(&own), &peer_length, SOCK_CLOEXEC));
    const auto bytes = http(200, "here");
    EXPECT_EQ(::write(connection.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  });
  ASSERT_TRUE(run_until(loop_, [&] { return result_.has_value(); }));
  ASSERT_TRUE(*result_) << result_->error().message;
  EXPECT_EQ((*result_)->body, "here");
  EXPECT_EQ(ntohl(own.sin_addr.s_addr), INADDR_LOOPBACK + 1);
}

}  // namespace
}  // namespace hal::curl
