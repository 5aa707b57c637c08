#include "claudy/terminal_session.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <optional>

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

using test::run_until;
using namespace std::chrono_literals;

/** A terminal as a user's terminal emulator holds it. */
struct Terminal {
  UniqueFd master;
  UniqueFd slave;

  explicit Terminal(winsize size = {24, 80, 0, 0}) {
    int fds[2];
    EXPECT_EQ(::openpty(&fds[0], &fds[1], nullptr, nullptr, &size), 0);
    master = UniqueFd(fds[0]);
    slave = UniqueFd(fds[1]);
    EXPECT_EQ(::fcntl(master.get(), F_SETFL, O_NONBLOCK), 0);
  }
  [[nodiscard]] bool raw() const {
    termios settings{};
    return ::tcgetattr(slave.get(), &settings) == 0 && (settings.c_lflag & ICANON) == 0;
  }
  [[nodiscard]] std::string shown() const {
    std::string text;
    std::array<char, 65536> buffer{};
    for (ssize_t bytes = 0; (bytes = ::read(master.get(), buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(bytes));
    }
    return text;
  }
  void type(std::string_view keys) const {
    EXPECT_EQ(::write(master.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
};

/** A program's terminal, whose program side the test plays. */
class SessionTest : public testing::Test {
 protected:
  SessionTest() {
    termios raw{};
    ::cfmakeraw(&raw);
    EXPECT_EQ(::tcsetattr(program_.slave.get(), TCSANOW, &raw), 0);
    EXPECT_EQ(::fcntl(program_.slave.get(), F_SETFL, O_NONBLOCK), 0);
  }

  void start(const char* keys = "ctrl-],d") {
    TerminalSession::Config config;
    config.input = terminal_.slave.get();
    config.output = terminal_.slave.get();
    config.stream = program_.master.duplicate();
    program_.master.reset();
    config.keys = *DetachKeys::parse(keys);
    config.size = WindowSize{24, 80};
    config.on_resize = [this](WindowSize size, std::function<void()> told) {
      sizes_.push_back(size);
      told_ = std::move(told);
    };
    config.on_end = [this](TerminalSession::End end, int signal) {
      end_ = end;
      signal_ = signal;
      raw_at_end_ = terminal_.raw();
    };
    auto session = TerminalSession::start(loop_, std::move(config));
    ASSERT_TRUE(session) << session.error().message;
    session_ = std::move(*session);
    ASSERT_TRUE(terminal_.raw());
  }

  void expect_end(TerminalSession::End end, int signal = 0) {
    ASSERT_TRUE(run_until(loop_, [this] { return end_.has_value(); }));
    EXPECT_EQ(*end_, end);
    EXPECT_EQ(signal_, signal);
    EXPECT_FALSE(raw_at_end_) << "on_end comes after the terminal is as before";
  }

  std::string read_program() {
    std::array<char, 65536> buffer{};
    const ssize_t bytes = ::read(program_.slave.get(), buffer.data(), buffer.size());
    return bytes > 0 ? std::string(buffer.data(), static_cast<std::size_t>(bytes)) : "";
  }

  void resize(unsigned short rows, unsigned short columns) {
    const winsize size{rows, columns, 0, 0};
    ASSERT_EQ(::ioctl(terminal_.master.get(), TIOCSWINSZ, &size), 0);
    ASSERT_EQ(::raise(SIGWINCH), 0);  // the test is not in the terminal's foreground
  }

  event::Loop loop_;
  Terminal terminal_;
  Terminal program_;
  std::vector<WindowSize> sizes_;
  std::function<void()> told_;
  std::optional<TerminalSession::End> end_;
  int signal_ = 0;
  bool raw_at_end_ = true;
  std::unique_ptr<TerminalSession> session_;
};

TEST_F(SessionTest, passes_keys_and_output_unchanged) {
  start();
  const std::string keys("\x03\x04\x0c\x12\x1b[A\r\n\x7f\0caf\xc3\xa9\xff", 17);
  terminal_.type(keys);
  std::string typed;
  ASSERT_TRUE(run_until(loop_, [&] { return (typed += read_program()).size() >= keys.size(); }));
  EXPECT_EQ(typed, keys);

  ASSERT_EQ(::write(program_.slave.get(), "out\nput", 7), 7);
  std::string shown;
  ASSERT_TRUE(run_until(loop_, [&] { return (shown += terminal_.shown()).size() >= 7; }));
  EXPECT_EQ(shown, "out\nput");
}

TEST_F(SessionTest, detach_keys_end_it_and_restore_the_terminal) {
  start();
  terminal_.type("ab\x1d");
  terminal_.type("d");
  expect_end(TerminalSession::End::detached);
  EXPECT_EQ(read_program(), "ab");
}

TEST_F(SessionTest, the_programs_end_ends_it) {
  start();
  ASSERT_EQ(::write(program_.slave.get(), "bye", 3), 3);
  program_.slave.reset();
  expect_end(TerminalSession::End::stream_ended);
  EXPECT_EQ(terminal_.shown(), "bye");
}

TEST_F(SessionTest, signals_end_it_and_restore_the_terminal) {
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) {
    program_ = Terminal();
    end_.reset();
    start();
    ASSERT_EQ(::raise(signal), 0);
    expect_end(TerminalSession::End::signalled, signal);
    session_.reset();
  }
}

TEST_F(SessionTest, destruction_restores_the_terminal) {
  start();
  session_.reset();
  EXPECT_FALSE(terminal_.raw());
}

TEST_F(SessionTest, a_terminal_that_hangs_up_ends_it) {
  start();
  terminal_.master.reset();
  ASSERT_TRUE(run_until(loop_, [this] { return end_.has_value(); }));
  EXPECT_EQ(*end_, TerminalSession::End::terminal_gone);
}

TEST_F(SessionTest, undoes_what_the_program_has_switched_on) {
  start();
  const std::string_view on = "\x1b[?1049h\x1b[?1000h\x1b[?25l";
  ASSERT_EQ(::write(program_.slave.get(), on.data(), on.size()), static_cast<ssize_t>(on.size()));
  std::string shown;
  ASSERT_TRUE(run_until(loop_, [&] { return (shown += terminal_.shown()).size() >= on.size(); }));
  terminal_.type(
      "\x1d"
      "d");
  expect_end(TerminalSession::End::detached);
  EXPECT_EQ(terminal_.shown(), "\x1b[?25h\x1b[?1000l\x1b[?1049l");
}

TEST_F(SessionTest, tells_sizes_one_at_a_time_and_only_the_last) {
  start();
  EXPECT_TRUE(sizes_.empty());  // the program knows the first one
  resize(30, 100);
  ASSERT_TRUE(run_until(loop_, [this] { return sizes_.size() == 1; }));
  EXPECT_EQ(sizes_[0], (WindowSize{30, 100}));
  resize(31, 100);
  resize(32, 100);
  resize(33, 100);
  test::run_ready(loop_);
  EXPECT_EQ(sizes_.size(), 1U);
  std::exchange(told_, {})();
  ASSERT_EQ(sizes_.size(), 2U);
  EXPECT_EQ(sizes_[1], (WindowSize{33, 100}));
  std::exchange(told_, {})();
  EXPECT_EQ(sizes_.size(), 2U);
}

TEST_F(SessionTest, an_answer_after_its_end_is_harmless) {
  start();
  resize(30, 100);
  ASSERT_TRUE(run_until(loop_, [this] { return sizes_.size() == 1; }));
  session_.reset();
  told_();
}

TEST_F(SessionTest, large_pastes_arrive_whole_at_a_slow_program) {
  start();
  const std::string paste(200'000, 'p');
  std::size_t pasted = 0;
  std::size_t received = 0;
  ASSERT_TRUE(run_until(
      loop_,
      [&] {
        const ssize_t bytes = ::write(terminal_.master.get(), paste.data(), paste.size() - pasted);
        pasted += bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
        received += read_program().size();
        return received == paste.size();
      },
      20s));
}

TEST_F(SessionTest, a_terminal_that_takes_nothing_does_not_stop_the_detach) {
  start();
  const std::string block(4096, 'o');
  for (int turns = 0; turns < 200; ++turns) {  // nobody reads what is shown
    (void)!::write(program_.slave.get(), block.data(), block.size());
    (void)loop_.run_once(0ms);
  }
  terminal_.type(
      "\x1d"
      "d");
  expect_end(TerminalSession::End::detached);
}

TEST_F(SessionTest, nothing_detaches_where_there_are_no_keys) {
  start("none");
  terminal_.type(
      "\x1d"
      "d");
  std::string typed;
  ASSERT_TRUE(run_until(loop_, [&] { return (typed += read_program()).size() >= 2; }));
  EXPECT_EQ(typed,
            "\x1d"
            "d");
  EXPECT_FALSE(end_);
}

TEST_F(SessionTest, stopping_gives_the_terminal_back_and_continuing_takes_it_again) {
  const pid_t child = ::fork();  // this process must not stop
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::setpgid(0, 0);  // not orphaned: its parent is in another group of the session
    event::Loop loop;
    TerminalSession::Config config;
    config.input = config.output = terminal_.slave.get();
    config.stream = program_.master.duplicate();
    config.on_end = [&loop](TerminalSession::End, int) { loop.exit(42); };
    auto session = TerminalSession::start(loop, std::move(config));
    (void)!::write(program_.slave.get(), "!", 1);
    ::_exit(session ? loop.run() : 1);
  }
  std::string shown;
  while (shown.find('!') == std::string::npos) {
    shown += test::read_line(terminal_.master.get(), 100ms);
  }
  ASSERT_TRUE(terminal_.raw());
  ASSERT_EQ(::kill(child, SIGTSTP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_FALSE(terminal_.raw());
  ASSERT_EQ(::kill(child, SIGCONT), 0);
  ASSERT_EQ(::kill(child, SIGTERM), 0);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_FALSE(terminal_.raw());
}

TEST(TerminalSessionStart, refuses_what_is_no_terminal) {
  event::Loop loop;
  auto pipe = test::make_pipe();
  TerminalSession::Config config;
  config.input = pipe.read.get();
  config.output = pipe.write.get();
  const auto session = TerminalSession::start(loop, std::move(config));
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace hal::claudy
