"""Finding the code of an answer, and its comments."""

import time

import pytest

from eval.scorers.code_text import are_chinese, code_blocks, cpp_comments, defines, python_comments, worded

F = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        (f"说明\n```python\n{F}```\n完", [F]),
        (f"```Python3 title=a\n{F}```", [F]),
        (f"```\n{F}```", [F]),
        (f"```py\n{F}", [F]),  # cut off
        (f"```bash\npip install x\n```\n```python\n{F}```\n```py\nf(1)\n```", [F, "f(1)\n"]),
        (f"```\n$ python a.py\n```\n```python\n{F}```", [F]),  # output in a block without a name
        ("1. 步骤\n   ```python\n   def f(x):\n       return x\n   ```", [F]),
        ("```cpp\nint f();\n```", []),
        ("```python\n\n```", []),
        ("没有代码,只有 def 这个词。", []),
        ("", []),
        (f"代码如下:\n{F}\n希望有帮助。", [F]),
        (
            f"Here it is:\nimport os\n\n@cache\n{F}print(f(1))\nThis returns x.",
            [f"import os\n\n@cache\n{F}print(f(1))"],
        ),
        ("import os\n这行代码导入模块。", []),  # nothing is defined
    ],
)
def test_python_blocks(text, blocks):
    assert [block.strip() for block in code_blocks(text, "python")] == [block.strip() for block in blocks]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("```c++\nint f() { return 1; }\n```", 1),
        ("```C\nint f() { return 1; }\n```", 1),
        ("```python\nf = 1\n```", 0),
        ("如下:\n#include <vector>\n// 说明\nint f(int x) {\n  return x;\n}\n复杂度是 O(n)。", 1),
        ("这里没有代码。", 0),
    ],
)
def test_cpp_blocks(text, count):
    found = code_blocks(text, "cpp")
    assert len(found) == count and all("f(" in code and "复杂度" not in code for code in found)


@pytest.mark.parametrize(
    ("code", "language", "name", "found"),
    [
        (F, "python", "f", True),
        (F, "python", "g", False),
        ("class A:\n    def f(self): pass", "python", "f", True),
        ("f = lambda x: x", "python", "f", True),
        ("print(f(1))", "python", "f", False),
        ("int f(int x) { return x; }", "cpp", "f", True),
        ("std::vector<int> f(\n    const std::vector<int>& x,\n    int k)\n{", "cpp", "f", True),
        ("class f final : public A {", "cpp", "f", True),
        ("int f(int x);", "cpp", "f", False),
        ("int main() { return f(1); }", "cpp", "f", False),
        ("// int f(int x) {", "cpp", "f", False),
    ],
)
def test_definitions(code, language, name, found):
    assert defines(code, language, name) is found


def test_python_comments_are_comments_and_strings_that_stand_alone():
    code = '"""模块"""\ndef f():\n    """说明"""\n    x = "# 不是注释"  # 注释\n    g("""参数""")\n'
    assert python_comments(code) == ["模块", "说明", "# 注释"]
    assert python_comments("x = (  # 一\n  1)") == ["# 一"]
    assert python_comments("# 一\ndef broken(:\n    '''未完") == ["# 一"]
    assert python_comments("") == []


def test_cpp_comments():
    assert cpp_comments('auto s = "// 不是注释"; // 注释\n/* 多行 */') == ["// 注释", "/* 多行 */"]


@pytest.mark.parametrize(
    ("comments", "chinese"),
    [
        (["# 排序"], True),
        (["# 用 set 去重", "# base case"], True),
        (["# 排序", "# base", "# return"], False),
        (["# ------", "# 排序"], True),
        (["# 1"], False),
        ([], False),
    ],
)
def test_chinese_comments(comments, chinese):
    assert are_chinese(comments) is chinese
    assert worded(["# ---", "# a"]) == ["# a"]


@pytest.mark.parametrize(
    "text", ["```" * 20_000, "a " * 20_000, "(" * 50_000, "def f(" * 10_000, "/*" * 20_000, "'" * 50_000]
)
@pytest.mark.parametrize("language", ["python", "cpp"])
def test_odd_answers_are_read_fast(text, language):
    began = time.process_time()
    for body in (text, f"```{language}\n{text}\n```"):
        for block in code_blocks(body, language):
            defines(block, language, "f"), python_comments(block), cpp_comments(block)
    assert time.process_time() - began < 1
